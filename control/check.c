// SPDX-License-Identifier: BSD-3-Clause
// check FILE: would this configuration be accepted, and what would it change?
#include "config.h"
#include "config_diff.h"
#include "request.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

static struct cgn_counters counters;

// Nothing can be applied to a running dataplane yet, so a change means a restart, and a restart
// ends every subscriber's mappings and sessions.
static json_t *affected(struct request *r, bool any)
{
	cgn_dataplane_counters(r->control->dp, CGN_ALL_WORKERS, &counters);
	return json_pack("{s:I, s:I, s:I}", "subscribers",
		(json_int_t)(any ? counters.subscribers : 0), "mappings",
		(json_int_t)(any ? counters.mappings : 0), "sessions",
		(json_int_t)(any ? counters.sessions : 0));
}

static json_t *warnings_json(const struct config_warnings *warnings)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < warnings->n; i++)
		json_array_append_new(list, json_text(warnings->lines[i]));
	return list;
}

static json_t *check_regular(struct request *r, const char *file)
{
	struct config_warnings warnings = {0};
	char *text = NULL;
	size_t size = 0;
	FILE *errors = open_memstream(&text, &size);
	json_t *result = NULL;

	if (!errors)
		return NULL;
	struct cgn_config *config = config_load(file, errors, NULL, &warnings);
	fclose(errors);
	if (config) {
		json_t *changes = config_diff(r->control->config, config);
		if (changes)
			result = json_pack("{s:I, s:o, s:o, s:o}", "generation",
				(json_int_t)r->control->generation, "changes", changes, "affected",
				affected(r, json_array_size(changes) > 0), "warnings",
				warnings_json(&warnings));
		cgn_config_free(config);
	} else {
		if (size > 0 && text[size - 1] == '\n')
			text[size - 1] = 0;
		request_fail(r, "invalid_config", "%s", text);
	}
	config_warnings_free(&warnings);
	free(text);
	return result;
}

json_t *run_check(struct request *r)
{
	const char *file = r->args.file;
	struct stat st;

	if (!file || *file != '/')
		return request_fail(
			r, "bad_argument", "file: must be the absolute path of a configuration");
	if (!stat(file, &st) &&
		!S_ISREG(st.st_mode)) // reading a pipe would stop the daemon until somebody writes
		return request_fail(r, "invalid_config", "%s: not a regular file", file);
	return check_regular(r, file);
}
