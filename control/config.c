// SPDX-License-Identifier: BSD-3-Clause
#include "config.h"
#include "config_check.h"
#include "config_report.h"
#include "config_schema.h"
#include "config_yaml.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int compare_ranges(const void *a, const void *b)
{
	const struct cgn_address_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

static int compare_ports(const void *a, const void *b)
{
	const struct cgn_port_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

// The order that cgnat/config.h promises; no two overlap any more.
static void sort_pools(struct cgn_config *c)
{
	for (uint32_t i = 0; i < c->n_pools; i++) {
		struct cgn_pool *p = &c->pools[i];
		uint32_t n = 0;

		qsort(p->ranges, p->n_ranges, sizeof(*p->ranges), compare_ranges);
		if (!p->n_reserved)
			continue;
		qsort(p->reserved, p->n_reserved, sizeof(*p->reserved), compare_ports);
		for (uint32_t k = 1; k < p->n_reserved; k++) {
			if (p->reserved[k].first == p->reserved[n].last + 1)
				p->reserved[n].last = p->reserved[k].last;
			else
				p->reserved[++n] = p->reserved[k];
		}
		p->n_reserved = n + 1;
	}
}

static int compare_services(const void *a, const void *b)
{
	const struct cgn_service_timeout *x = a, *y = b;

	if (x->protocol != y->protocol)
		return x->protocol < y->protocol ? -1 : 1;
	return x->port < y->port ? -1 : x->port > y->port;
}

// Hands what was found to the caller; returns the number of errors.
static unsigned finish(struct report *r, const char *name, FILE *errors, unsigned *n_errors,
	struct config_warnings *warnings)
{
	unsigned n = r->errors.n;
	char **lines = report_lines(name, &r->errors);

	for (unsigned i = 0; i < n; i++) {
		fprintf(errors, "%s\n", lines[i]);
		free(lines[i]);
	}
	free(lines);
	if (n_errors)
		*n_errors = n;
	if (warnings) {
		warnings->n = r->warnings.n;
		warnings->lines = report_lines(name, &r->warnings);
	}
	report_fini(r);
	return n;
}

struct cgn_config *config_parse(const char *name, const char *text, size_t n_bytes, FILE *errors,
	unsigned *n_errors, struct config_warnings *warnings)
{
	struct cgn_config *config = must_calloc(1, sizeof(*config));
	struct report r = {0};
	struct node *root = NULL;

	if (n_bytes > CONFIG_FILE_MAX)
		report_file_error(&r, 1, 1, "file", "is too large, at most %u bytes are allowed",
			CONFIG_FILE_MAX);
	else
		root = yaml_read(&r, text, n_bytes);
	if (root) {
		schema_read(&r, root, config);
		config_check(&r, root, config);
	}
	if (finish(&r, name, errors, n_errors, warnings)) {
		cgn_config_free(config);
		return NULL;
	}
	sort_pools(config);
	qsort(config->timeouts.services, config->timeouts.n_services,
		sizeof(config->timeouts.services[0]), compare_services);
	return config;
}

// Up to CONFIG_FILE_MAX + 1 bytes of a regular file: one more than is allowed shows that it is too
// large, whatever its size was a moment ago. NULL with errno; *why instead of it where errno says
// nothing.
static char *read_file(const char *path, size_t *n_bytes, const char **why)
{
	char *text = NULL;
	struct stat st;
	ssize_t got;
	int fd;

	*why = NULL;
	*n_bytes = 0;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); // a FIFO must not block us
	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) < 0)
		goto out_close;
	if (!S_ISREG(st.st_mode)) {
		*why = S_ISDIR(st.st_mode) ? "it is a directory" : "it is not a regular file";
		goto out_close;
	}
	text = must_calloc(1, CONFIG_FILE_MAX + 1);
	do {
		got = read(fd, text + *n_bytes, CONFIG_FILE_MAX + 1 - *n_bytes);
		if (got > 0)
			*n_bytes += (size_t)got;
	} while (got > 0 || (got < 0 && errno == EINTR));
	if (got < 0) {
		int saved = errno;

		free(text);
		text = NULL;
		errno = saved;
	}
out_close:
	close(fd);
	return text;
}

struct cgn_config *config_load(
	const char *path, FILE *errors, unsigned *n_errors, struct config_warnings *warnings)
{
	struct cgn_config *config;
	const char *why;
	size_t n_bytes;
	char *text = read_file(path, &n_bytes, &why);

	if (!text) {
		struct report r = {0};

		report_file_error(
			&r, 1, 1, "file", "cannot be read: %s", why ? why : strerror(errno));
		finish(&r, path, errors, n_errors, warnings);
		return NULL;
	}
	config = config_parse(path, text, n_bytes, errors, n_errors, warnings);
	free(text);
	return config;
}

void config_warnings_free(struct config_warnings *warnings)
{
	for (unsigned i = 0; i < warnings->n; i++)
		free(warnings->lines[i]);
	free(warnings->lines);
	*warnings = (struct config_warnings){0};
}

void cgn_config_free(struct cgn_config *c)
{
	if (!c)
		return;
	for (uint32_t i = 0; i < c->runtime.n_eal_args; i++)
		free(c->runtime.eal_args[i]);
	free(c->runtime.eal_args);
	free(c->control.socket);
	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		free(c->interfaces[i].device);
		free(c->interfaces[i].addresses);
		free(c->interfaces[i].routes);
		free(c->interfaces[i].addresses6);
		free(c->interfaces[i].routes6);
	}
	free(c->interfaces);
	for (uint32_t i = 0; i < c->n_pools; i++) {
		free(c->pools[i].ranges);
		free(c->pools[i].reserved);
	}
	free(c->pools);
	for (uint32_t i = 0; i < c->n_policies; i++) {
		free(c->policies[i].sources);
		free(c->policies[i].destinations);
		free(c->policies[i].destination_ports);
	}
	free(c->policies);
	free(c->static_mappings);
	free(c);
}
