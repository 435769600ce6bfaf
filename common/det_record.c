// SPDX-License-Identifier: BSD-3-Clause
// What is said about a plan: names, and the record of RFC 7422 3.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "cgnat/deterministic.h"

const char *cgn_algorithm_name(enum cgn_algorithm algorithm)
{
	static const char *const names[] = {
		[CGN_ALGORITHM_SEQUENTIAL] = "sequential",
		[CGN_ALGORITHM_STAGGERED] = "staggered",
		[CGN_ALGORITHM_ROUND_ROBIN] = "round-robin",
		[CGN_ALGORITHM_INTERLACED] = "interlaced",
		[CGN_ALGORITHM_CRYPTOGRAPHIC] = "cryptographic",
	};

	return names[algorithm];
}

static void write_address(FILE *out, uint32_t a)
{
	fprintf(out, "%u.%u.%u.%u", a >> 24, a >> 16 & 0xff, a >> 8 & 0xff, a & 0xff);
}

// "198.51.100.0,198.51.101.0:28,24:"
static void write_prefixes(FILE *out, const struct cgn_prefix *p, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		fputs(i ? "," : "", out);
		write_address(out, p[i].address);
	}
	fputc(':', out);
	for (uint32_t i = 0; i < n; i++)
		fprintf(out, "%s%u", i ? "," : "", p[i].length);
	fputc(':', out);
}

// A range as the fewest prefixes. Returns how many, 62 at most.
static uint32_t prefixes_of(const struct cgn_address_range *r, struct cgn_prefix *out)
{
	uint64_t at = r->first;
	uint32_t n = 0;

	while (at <= r->last) {
		uint8_t length = at ? (uint8_t)(32 - __builtin_ctz((uint32_t)at)) : 0;

		while (at + (1ull << (32 - length)) - 1 > r->last)
			length++;
		out[n++] = (struct cgn_prefix){(uint32_t)at, length};
		at += 1ull << (32 - length);
	}
	return n;
}

static bool write_external(FILE *out, const struct cgn_det *det)
{
	struct cgn_prefix *prefixes = calloc(det->external.n + 1, 62 * sizeof(*prefixes));
	uint32_t n = 0;

	if (!prefixes)
		return false;
	for (uint32_t i = 0; i < det->external.n; i++)
		n += prefixes_of(&det->external.range[i], prefixes + n);
	write_prefixes(out, prefixes, n);
	free(prefixes);
	return true;
}

// D of RFC 7422 2.2: an address has C subscribers, and as many ports as C + D of them.
static void write_dynamic_factor(FILE *out, const struct cgn_det *det)
{
	const double n_addresses = (double)det->external.n_addresses;
	char text[32];
	size_t n;

	snprintf(text, sizeof(text), "%.2f",
		n_addresses > 0 ? (double)det->n_candidates / det->n_ports -
				(double)det->subscribers.n_addresses / n_addresses
				: 0);
	for (n = strlen(text); text[n - 1] == '0'; n--)
		;
	n -= text[n - 1] == '.';
	fprintf(out, "%.*s", (int)n, text);
}

// All ports that nobody is given, but 0.
static void write_reserved(FILE *out, const struct cgn_det *det)
{
	uint32_t at = 1;
	bool is_first = true;

	for (uint32_t i = 0; i <= det->n_candidate_ranges; i++) {
		const uint32_t end = i < det->n_candidate_ranges ? det->candidates[i].first : 65536;

		if (at < end) {
			fprintf(out, end - at > 1 ? "%s%u-%u" : "%s%u", is_first ? "" : ",", at,
				end - 1);
			is_first = false;
		}
		if (i < det->n_candidate_ranges)
			at = det->candidates[i].last + 1u;
	}
}

char *cgn_det_record(const struct cgn_det *det, int64_t now)
{
	const struct cgn_pool *pool = det->pool;
	const time_t when = (time_t)now;
	char *text = NULL, time_text[64];
	size_t size;
	FILE *out = open_memstream(&text, &size);
	struct tm tm;
	bool ok;

	if (!out)
		return NULL;
	gmtime_r(&when, &tm);
	strftime(time_text, sizeof(time_text), "%a %b %e %H:%M:%S %Y", &tm);
	fprintf(out, "[%s]:", time_text);
	write_prefixes(out, det->sources, det->n_sources);
	ok = write_external(out, det);
	write_dynamic_factor(out, det);
	fprintf(out, ":%u:%u:", det->n_ports + (pool->max_blocks - 1u) * pool->block_size,
		pool->deterministic.algorithm);
	write_reserved(out, det);
	if (fclose(out) || !ok) {
		free(text);
		return NULL;
	}
	return text;
}
