// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "numa.h"
#include <cmocka.h>

static void every_worker_is_on_the_node_of_its_lcore(void **state)
{
	const int node[] = {1, 0, 1, 1, 3};
	const struct numa numa = numa_of(node, 5);

	assert_int_equal(numa.n, 3);
	assert_int_equal(numa.n_workers[0], 3);
	assert_int_equal(numa.n_workers[1], 1);
	assert_int_equal(numa.n_workers[2], 1);
	for (unsigned w = 0; w < 5; w++)
		assert_int_equal(numa.node[numa.at[w]], node[w]);
}

static void one_node_is_enough_for_all(void **state)
{
	int node[CGN_WORKERS_MAX] = {0};
	const struct numa numa = numa_of(node, CGN_WORKERS_MAX);

	assert_int_equal(numa.n, 1);
	assert_int_equal(numa.n_workers[0], CGN_WORKERS_MAX);
}

static void only_two_known_nodes_are_far_from_each_other(void **state)
{
	assert_true(numa_far(0, 1));
	assert_true(numa_far(1, 0));
	assert_false(numa_far(1, 1));
	assert_false(numa_far(-1, 1));
	assert_false(numa_far(1, -1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_worker_is_on_the_node_of_its_lcore),
		cmocka_unit_test(one_node_is_enough_for_all),
		cmocka_unit_test(only_two_known_nodes_are_far_from_each_other),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
