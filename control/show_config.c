// SPDX-License-Identifier: BSD-3-Clause
// show config: every key of the running configuration with its value, defaults too.
#include "config_diff.h"
#include "request.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_MAX 2048 // bytes; a list of routes may be megabytes

static json_t *entry(const char *section, const char *key, const char *value)
{
	json_t *object = NULL;
	char text[VALUE_MAX], *name;

	snprintf(text, sizeof(text), "%s", value);
	if (strlen(value) >= sizeof(text))
		memcpy(text + sizeof(text) - 5, " ...", 5);
	if (asprintf(&name, "%s%s%s", section, *key ? "." : "", key) < 0)
		return NULL;
	object = json_pack("{s:s, s:o}", "key", name, "value", json_text(text));
	free(name);
	return object;
}

json_t *run_show_config(struct request *r)
{
	json_t *sections = config_describe(r->control->config), *list = json_array();
	json_t *section, *value;
	const char *name, *key;

	json_object_foreach(sections, name, section)
	{
		json_object_foreach(section, key, value)
		{
			json_array_append_new(list, entry(name, key, json_string_value(value)));
		}
	}
	json_decref(sections);
	return list;
}
