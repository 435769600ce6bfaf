// SPDX-License-Identifier: BSD-3-Clause
#include "ask.h"
#include <stdio.h>
#include <string.h>

struct control control;
size_t longest_line;

int setup(void **state)
{
	control = (struct control){.generation = 1, .started_ns = 5 * SEC};
	control.config = config_parse("test", FAKE_YAML, strlen(FAKE_YAML), stderr, NULL, NULL);
	assert_non_null(control.config);
	fake_reset();
	assert_int_equal(cgn_dataplane_start(control.config, NULL, &control.dp, NULL, 0), 0);
	longest_line = 0;
	return 0;
}

int teardown(void **state)
{
	assert_int_equal(fake.walks_open, 0);
	cgn_dataplane_stop(control.dp);
	cgn_config_free((struct cgn_config *)control.config);
	return 0;
}

json_t *ask_bytes(const char *line, size_t size)
{
	struct request *r = request_create(&control, line, size);
	struct buffer out = {0};
	json_t *lines = json_array();
	enum request_progress progress;

	assert_non_null(r);
	do {
		size_t before = buffer_size(&out);

		progress = request_step(r, &out, 65 * SEC);
		assert_int_not_equal(progress, REQUEST_WAIT);
		assert_true(buffer_size(&out) - before < 128 * 1024);
	} while (progress != REQUEST_DONE);
	request_destroy(r);

	assert_false(out.failed);
	while (buffer_size(&out) > 0) {
		char *start = out.data + out.start;
		char *newline = memchr(start, '\n', buffer_size(&out));

		assert_non_null(newline);
		size_t len = (size_t)(newline - start);
		if (len > longest_line)
			longest_line = len;
		json_t *object = json_loadb(start, len, JSON_REJECT_DUPLICATES, NULL);
		assert_true(json_is_object(object));
		json_array_append_new(lines, object);
		buffer_consume(&out, len + 1);
	}
	buffer_fini(&out);
	return lines;
}

json_t *ask(const char *line)
{
	return ask_bytes(line, strlen(line));
}

json_t *result_of(const char *command, const char *args)
{
	char line[1024];

	snprintf(line, sizeof(line), "{\"id\": 7, \"command\": \"%s\", \"args\": {%s}}", command,
		args);
	json_t *lines = ask(line);
	json_t *only = json_array_get(lines, 0);
	assert_int_equal(json_array_size(lines), 1);
	assert_int_equal(json_integer_value(json_object_get(only, "id")), 7);
	json_t *result = json_incref(json_object_get(only, "result"));
	assert_true(json_is_object(result));
	json_decref(lines);
	return result;
}

json_t *items_of(const char *command, const char *args)
{
	char line[1024];
	json_t *items = json_array(), *one;
	size_t i;

	snprintf(line, sizeof(line), "{\"id\": \"x\", \"command\": \"%s\", \"args\": {%s}}",
		command, args);
	json_t *lines = ask(line);
	json_array_foreach(lines, i, one)
	{
		assert_string_equal(json_string_value(json_object_get(one, "id")), "x");
		if (i + 1 == json_array_size(lines)) {
			assert_true(json_is_true(json_object_get(one, "done")));
			break;
		}
		assert_true(json_array_size(json_object_get(one, "items")) > 0);
		json_array_extend(items, json_object_get(one, "items"));
	}
	json_decref(lines);
	return items;
}

void check_error(const char *line, size_t size, const char *code, const char *in_message)
{
	json_t *lines = ask_bytes(line, size);
	json_t *error = json_object_get(json_array_get(lines, 0), "error");
	const char *message = json_string_value(json_object_get(error, "message"));

	assert_int_equal(json_array_size(lines), 1);
	assert_non_null(json_object_get(json_array_get(lines, 0), "id"));
	assert_string_equal(json_string_value(json_object_get(error, "code")), code);
	if (!message || !strstr(message, in_message))
		fail_msg("'%s' does not contain '%s'", message, in_message);
	json_decref(lines);
}

void check_keys(const json_t *object, const char *keys)
{
	char copy[512];

	snprintf(copy, sizeof(copy), "%s", keys);
	for (char *key = strtok(copy, " "); key; key = strtok(NULL, " "))
		if (!json_object_get(object, key))
			fail_msg("key %s is missing", key);
}

json_int_t integer(const json_t *object, const char *key)
{
	assert_true(json_is_integer(json_object_get(object, key)));
	return json_integer_value(json_object_get(object, key));
}

const char *text(const json_t *object, const char *key)
{
	assert_true(json_is_string(json_object_get(object, key)));
	return json_string_value(json_object_get(object, key));
}
