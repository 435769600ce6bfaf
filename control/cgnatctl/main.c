// SPDX-License-Identifier: BSD-3-Clause
// cgnatctl: asks a running cgnatd. Commands and options come from cgnat/ctl.h.
// Exit status: 0 done, 1 the daemon refused, 2 wrong usage, 3 no daemon, or it fell silent.
#include "cgnat/ctl.h"
#include "cgnat/offline.h"
#include "client.h"
#include "show.h"
#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum status {
	STATUS_OK,
	STATUS_REFUSED,
	STATUS_USAGE,
	STATUS_NO_DAEMON,
};

#define TIMEOUT_DEFAULT_S 30
#define TIMEOUT_MAX_S 86400
#define WORDS_MAX 8

// Arguments that are options of cgnatctl; the others are operands.
#define OPTIONS (CGN_CTL_FILTERS | CGN_CTL_LIMIT | CGN_CTL_PER_WORKER)

static const struct {
	const char *key, *value, *help;
	enum cgn_ctl_type type;
} arg_table[CGN_CTL_ARG_COUNT] = {
#define X(id, key, type, value, help) {key, value, help, CGN_CTL_##type},
	CGN_CTL_ARGS(X)
#undef X
};

static const struct {
	const char *name, *operands, *help;
	unsigned args;
} command_table[CGN_CTL_COMMAND_COUNT] = {
#define X(id, name, args, operands, help) {name, operands, help, args},
	CGN_CTL_COMMANDS(X)
#undef X
};

// What the command line says.
struct invocation {
	const char *socket;
	const char *config; // resolve: a file instead of a daemon
	unsigned timeout_s;
	bool json, help, version, all;
	const char *words[WORDS_MAX];
	unsigned n_words;
	unsigned given; // CGN_CTL_*: options
	json_t *args;
	int command; // -1: none
};

static enum status wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static enum status wrong(const char *fmt, ...)
{
	va_list args;

	fputs("cgnatctl: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
	return STATUS_USAGE;
}

// ---- help

// Options of explain and resolve are operands, though some have a filter's name.
static unsigned options_of(int command)
{
	if (command == CGN_CTL_EXPLAIN_COMMAND || command == CGN_CTL_RESOLVE_COMMAND)
		return 0;
	return command_table[command].args & OPTIONS;
}

static void print_command_help(int command)
{
	unsigned options = options_of(command);

	printf("usage: cgnatctl [--socket PATH] [--json] %s%s%s%s\n\n%s\n",
		command_table[command].name, *command_table[command].operands ? " " : "",
		command_table[command].operands,
		options || command == CGN_CTL_SHOW_DROPS_COMMAND ||
				command == CGN_CTL_RESOLVE_COMMAND
			? " [OPTION ...]"
			: "",
		command_table[command].help);
	if (options)
		putchar('\n');
	for (unsigned i = 0; i < CGN_CTL_ARG_COUNT; i++)
		if (options & (1u << i))
			printf("  --%-10s %-7s %s\n", arg_table[i].key, arg_table[i].value,
				arg_table[i].help);
	if (command == CGN_CTL_SHOW_DROPS_COMMAND)
		printf("  --%-10s %-7s reasons that are zero, too\n", "all", "");
	if (command == CGN_CTL_RESOLVE_COMMAND)
		printf("\n  --%-10s %-7s by this configuration, without a daemon\n", "config",
			"FILE");
}

static void print_help(FILE *out)
{
	fprintf(out,
		"usage: cgnatctl [--socket PATH] [--json] [--timeout S] COMMAND [OPTION ...]\n\n");
	for (unsigned i = 0; i < CGN_CTL_COMMAND_COUNT; i++)
		fprintf(out, "  %-17s %s\n", command_table[i].name, command_table[i].help);
	fprintf(out,
		"\n"
		"  --socket PATH  of cgnatd (%s)\n"
		"  --json         the answer as JSON; a list is one array\n"
		"  --timeout S    give up after S seconds of silence (%d)\n"
		"  --help         this, or with a command its options\n"
		"  --version\n"
		"\n"
		"exit status: 0 done, 1 cgnatd refused, 2 wrong usage, 3 no cgnatd answers\n",
		CGN_CTL_SOCKET, TIMEOUT_DEFAULT_S);
}

// ---- the command line

static bool read_number(const char *text, uint64_t max, uint64_t *out)
{
	size_t digits = strspn(text, "0123456789");

	if (digits == 0 || digits > 18 || text[digits])
		return false;
	*out = strtoull(text, NULL, 10);
	return *out <= max;
}

// Checks a value and puts it into the request.
static enum status set_arg(
	struct invocation *v, enum cgn_ctl_arg arg, const char *what, const char *text)
{
	enum cgn_ctl_type type = arg_table[arg].type;
	char lower[8] = "";
	json_t *value = NULL;
	bool has_port;
	uint8_t protocol;
	uint16_t port;
	uint32_t address;
	uint64_t number;

	switch (type) {
	case CGN_CTL_FLAG:
		value = json_true();
		break;
	case CGN_CTL_NUMBER:
	case CGN_CTL_COUNT:
		if (read_number(text, type == CGN_CTL_NUMBER ? UINT32_MAX : INT64_MAX, &number) &&
			(type == CGN_CTL_NUMBER || number >= 1))
			value = json_integer((json_int_t)number);
		break;
	case CGN_CTL_TEXT:
		value = *text ? json_string(text) : NULL;
		break;
	case CGN_CTL_PROTO:
		for (unsigned i = 0; text[i] && i < sizeof(lower) - 1; i++)
			lower[i] = (char)tolower((unsigned char)text[i]);
		if (cgn_parse_protocol(lower, &protocol))
			value = json_string(lower);
		break;
	case CGN_CTL_ADDRESS:
		if (cgn_parse_address(text, &address))
			value = json_string(text);
		break;
	case CGN_CTL_ENDPOINT:
		if (cgn_parse_endpoint(text, &address, &port, &has_port))
			value = json_string(text);
		break;
	}
	if (!value || json_object_set_new(v->args, arg_table[arg].key, value))
		return wrong("%s: '%s' is not %s", what, text, cgn_ctl_allowed(type));
	return STATUS_OK;
}

static enum status set_option(struct invocation *v, const char *name, const char *value)
{
	char what[32];
	uint64_t number;

	if (!strcmp(name, "socket")) {
		v->socket = value;
		return STATUS_OK;
	}
	if (!strcmp(name, "config")) {
		v->config = value;
		return STATUS_OK;
	}
	if (!strcmp(name, "timeout")) {
		if (!read_number(value, TIMEOUT_MAX_S, &number) || number < 1)
			return wrong("--timeout: '%s' is not a number of seconds from 1 to %d",
				value, TIMEOUT_MAX_S);
		v->timeout_s = (unsigned)number;
		return STATUS_OK;
	}
	for (unsigned i = 0; i < CGN_CTL_ARG_COUNT; i++) {
		if (strcmp(name, arg_table[i].key))
			continue;
		snprintf(what, sizeof(what), "--%s", name);
		if (v->given & (1u << i))
			return wrong("%s: given twice", what);
		v->given |= 1u << i;
		return set_arg(v, (enum cgn_ctl_arg)i, what, value);
	}
	return wrong("--%s: unknown option; see cgnatctl --help", name);
}

// Options without a value. NULL: not one of them.
static bool *find_flag(struct invocation *v, const char *option)
{
	static const char *const names[] = {"--json", "--help", "-h", "--version", "-V", "--all"};
	bool *const flags[] = {&v->json, &v->help, &v->help, &v->version, &v->version, &v->all};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strcmp(option, names[i]))
			return flags[i];
	return NULL;
}

static bool known_option(const char *name)
{
	if (!strcmp(name, "socket") || !strcmp(name, "timeout") || !strcmp(name, "config"))
		return true;
	for (unsigned i = 0; i < CGN_CTL_ARG_COUNT; i++)
		if ((OPTIONS & (1u << i)) && !strcmp(name, arg_table[i].key))
			return true;
	return false;
}

static enum status read_option(struct invocation *v, char **argv, int *i)
{
	char name[32];
	const char *option = argv[*i], *equals = strchr(option, '=');
	bool *flag = find_flag(v, option);

	if (flag) {
		*flag = true;
		return STATUS_OK;
	}
	snprintf(name, sizeof(name), "%.*s",
		equals ? (int)(equals - option) - 2 : (int)sizeof(name) - 1, option + 2);
	if (strncmp(option, "--", 2) || !known_option(name))
		return wrong("%s: unknown option; see cgnatctl --help", option);
	if (!strcmp(name, "per-worker"))
		return equals ? wrong("--per-worker takes no value") : set_option(v, name, "");
	if (equals)
		return set_option(v, name, equals + 1);
	if (!argv[*i + 1])
		return wrong("%s: its value is missing", option);
	return set_option(v, name, argv[++*i]);
}

static enum status read_arguments(struct invocation *v, int argc, char **argv)
{
	bool options = true;

	for (int i = 1; i < argc; i++) {
		if (options && !strcmp(argv[i], "--")) {
			options = false;
		} else if (options && argv[i][0] == '-' && argv[i][1]) {
			if (read_option(v, argv, &i))
				return STATUS_USAGE;
		} else if (v->n_words == WORDS_MAX) {
			return wrong("too many words: '%s'", argv[i]);
		} else {
			v->words[v->n_words++] = argv[i];
		}
	}
	return STATUS_OK;
}

// Finds the command that the words begin with. Returns how many words it has, 0: none.
static unsigned find_command(struct invocation *v, unsigned first)
{
	char joined[64];

	v->command = -1;
	for (unsigned n = 2; n >= 1; n--) {
		if (first + n > v->n_words)
			continue;
		snprintf(joined, sizeof(joined), "%s%s%s", v->words[first], n == 2 ? " " : "",
			n == 2 ? v->words[first + 1] : "");
		for (int i = 0; i < CGN_CTL_COMMAND_COUNT; i++) {
			if (!strcmp(joined, command_table[i].name)) {
				v->command = i;
				return n;
			}
		}
	}
	return 0;
}

static enum status read_file(struct invocation *v, const char *file)
{
	char path[8192], cwd[4096];

	if (*file == '/')
		return set_arg(v, CGN_CTL_ARG_FILE, "FILE", file);
	if (!getcwd(cwd, sizeof(cwd)))
		return wrong("FILE: the current directory has no name: %s", strerror(errno));
	if (snprintf(path, sizeof(path), "%s/%s", cwd, file) >= (int)sizeof(path))
		return wrong("FILE: too long");
	return set_arg(v, CGN_CTL_ARG_FILE, "FILE", *file ? path : file);
}

static enum status read_operands(struct invocation *v, const char *const *words, unsigned n)
{
	const char *operands = command_table[v->command].operands;
	unsigned min = 0, max = 0;

	if (v->command == CGN_CTL_CHECK_COMMAND || v->command == CGN_CTL_RESOLVE_COMMAND)
		min = max = 1;
	else if (v->command == CGN_CTL_EXPLAIN_COMMAND)
		min = max = 3;
	else if (v->command == CGN_CTL_SHOW_SUBSCRIBERS_COMMAND)
		max = 1;
	if (n > max)
		return wrong("%s: '%s' is one word too many", command_table[v->command].name,
			words[max]);
	if (n < min)
		return wrong("%s: %s is missing", command_table[v->command].name, operands);
	if (n == 0)
		return STATUS_OK;

	switch (v->command) {
	case CGN_CTL_CHECK_COMMAND:
		return read_file(v, words[0]);
	case CGN_CTL_RESOLVE_COMMAND:
		if (strchr(words[0], ':')) // as long as there is no IPv6
			return set_arg(v, CGN_CTL_ARG_EXTERNAL, "EXTERNAL:PORT", words[0]);
		return set_arg(v, CGN_CTL_ARG_SUBSCRIBER, "SUBSCRIBER", words[0]);
	case CGN_CTL_EXPLAIN_COMMAND:
		if (set_arg(v, CGN_CTL_ARG_PROTOCOL, "PROTOCOL", words[0]) ||
			set_arg(v, CGN_CTL_ARG_SOURCE, "SOURCE:PORT", words[1]))
			return STATUS_USAGE;
		return set_arg(v, CGN_CTL_ARG_DESTINATION, "DESTINATION:PORT", words[2]);
	default:
		if (v->given & CGN_CTL_SUBSCRIBER)
			return wrong("ADDRESS and --subscriber say the same; give one");
		return set_arg(v, CGN_CTL_ARG_SUBSCRIBER, "ADDRESS", words[0]);
	}
}

static enum status check_options(const struct invocation *v)
{
	unsigned allowed = options_of(v->command);

	for (unsigned i = 0; i < CGN_CTL_ARG_COUNT; i++)
		if ((v->given & ~allowed) & (1u << i))
			return wrong("--%s: not an option of %s; see cgnatctl %s --help",
				arg_table[i].key, command_table[v->command].name,
				command_table[v->command].name);
	if (v->all && v->command != CGN_CTL_SHOW_DROPS_COMMAND)
		return wrong("--all: not an option of %s", command_table[v->command].name);
	if (v->config && v->command != CGN_CTL_RESOLVE_COMMAND)
		return wrong("--config: not an option of %s", command_table[v->command].name);
	return STATUS_OK;
}

// ---- asking

// stdout's reader may have gone (| head): nothing to complain about, and nothing more to do.
static bool output_failed(enum status *status)
{
	if (!ferror(stdout) && !fflush(stdout))
		return false;
	if (errno != EPIPE) {
		fprintf(stderr, "cgnatctl: cannot write: %s\n", strerror(errno));
		*status = STATUS_REFUSED;
	}
	return true;
}

// Deals with one line of the answer; false when it was the last.
static bool take_answer(struct show *show, const json_t *answer, enum status *status)
{
	const json_t *error = json_object_get(answer, "error");
	const json_t *result = json_object_get(answer, "result");
	json_t *items = json_object_get(answer, "items");

	if (error) {
		const char *message = json_string_value(json_object_get(error, "message"));
		fflush(stdout);
		fprintf(stderr, "cgnatctl: %s\n", message ? message : "refused, without a reason");
		*status = STATUS_REFUSED;
		return false;
	}
	if (items) {
		show_items(show, items);
		return !output_failed(status);
	}
	if (result)
		show_result(show, result);
	else
		show_end(show);
	output_failed(status);
	return false;
}

static enum status ask(const struct invocation *v)
{
	struct show show = {
		.command = (enum cgn_ctl_command)v->command, .json = v->json, .all = v->all};
	enum status status = STATUS_OK;
	struct client client;
	bool more = true;

	if (v->command == CGN_CTL_SHOW_SUBSCRIBERS_COMMAND && !(v->given & CGN_CTL_SUBSCRIBER))
		show.detail = json_string_value(json_object_get(v->args, "subscriber"));
	json_t *request = json_pack("{s:i, s:s, s:O}", "id", 1, "command",
		command_table[v->command].name, "args", v->args);
	if (!request)
		return wrong("no memory");
	if (client_open(&client, v->socket, v->timeout_s) || client_send(&client, request))
		goto err_client;
	while (more) {
		json_t *answer = client_receive(&client);
		if (!answer)
			goto err_client;
		more = take_answer(&show, answer, &status);
		json_decref(answer);
	}
	goto out;
err_client:
	fflush(stdout);
	fprintf(stderr, "cgnatctl: %s\n", client.error);
	status = STATUS_NO_DAEMON;
out:
	client_close(&client);
	json_decref(request);
	show_fini(&show);
	return status;
}

// resolve --config FILE
static enum status resolve_offline(const struct invocation *v)
{
	struct show show = {.command = CGN_CTL_RESOLVE_COMMAND, .json = v->json};
	const char *external = json_string_value(json_object_get(v->args, "external"));
	const char *subscriber = json_string_value(json_object_get(v->args, "subscriber"));
	enum status status = STATUS_OK;
	char *error = NULL, *text;
	uint16_t port = 0;
	uint32_t address = 0;
	json_t *answer;
	bool has_port;

	cgn_parse_endpoint(external ? external : subscriber, &address, &port, &has_port);
	text = cgn_offline_resolve(v->config, external, address, port, &error);
	answer = text ? json_loads(text, 0, NULL) : NULL;
	free(text);
	if (answer) {
		show_result(&show, answer);
		output_failed(&status);
	} else {
		// errors of the configuration stand there as cgnatd --check writes them
		if (error && strchr(error, '\n'))
			fputs(error, stderr);
		else
			fprintf(stderr, "cgnatctl: %s\n", error ? error : "no memory");
		status = STATUS_REFUSED;
	}
	free(error);
	json_decref(answer);
	show_fini(&show);
	return status;
}

static enum status run(struct invocation *v)
{
	if (v->version) {
		printf("cgnatctl %s\n", CGN_VERSION);
		return STATUS_OK;
	}
	bool help = v->help || (v->n_words > 0 && !strcmp(v->words[0], "help"));
	unsigned first = v->n_words > 0 && !strcmp(v->words[0], "help") ? 1 : 0;
	unsigned n = find_command(v, first);

	if (help && v->command >= 0)
		print_command_help(v->command);
	else if (help)
		print_help(stdout);
	if (help)
		return STATUS_OK;
	if (v->n_words == 0) {
		print_help(stderr);
		return STATUS_USAGE;
	}
	if (v->command < 0)
		return wrong("%s%s%s: unknown command; see cgnatctl --help", v->words[0],
			v->n_words > 1 ? " " : "", v->n_words > 1 ? v->words[1] : "");
	if (check_options(v) || read_operands(v, v->words + n, v->n_words - n))
		return STATUS_USAGE;
	return v->config ? resolve_offline(v) : ask(v);
}

int main(int argc, char **argv)
{
	struct invocation v = {
		.socket = CGN_CTL_SOCKET, .timeout_s = TIMEOUT_DEFAULT_S, .args = json_object()};
	enum status status = read_arguments(&v, argc, argv);

	if (!status)
		status = run(&v);
	json_decref(v.args);
	return (int)status;
}
