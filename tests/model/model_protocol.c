/* SPDX-License-Identifier: MIT */
/*
 * model_protocol.c - what docs/locking.md and docs/recovery.md claim, in every state there is
 *
 * Models of the concurrent parts of the log engine (one file each: readers' gate, places, one log,
 * two logs) are explored by explore.c: any order of steps, a kill at any of them, a power failure in
 * any state. Each model can also break a rule on purpose: then something wrong must be found, or the
 * model shows nothing.
 *
 * The models are written after the code by hand: they show that the protocol is right, not that the
 * code follows it. Each file's head says what it leaves out. Kills, failures and commits are bounded
 * (a few each), processes are as many as it has, identities of commits are small numbers. Memory is
 * sequentially consistent, as the code's operations on those words are.
 */
#include "protocols.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static const struct planted {
    const struct protocol *protocol;
    int bug;
    const char *name;
} planted[] = {
#define GATE(bug) {&protocol_gate, GATE_##bug, "gate: " #bug}
    GATE(LOOKS_BEFORE_ITS_SLOT), GATE(LOOKS_BEFORE_CLOSING), GATE(OPENS_WITHOUT_APPLYING),
    GATE(GIVES_UP_OPENING), GATE(FAILS_OPENING), GATE(KEEPS_DEAD_READERS),
    GATE(BELIEVES_FIRST_LOOK), GATE(ID_BEFORE_SLOT),
#define PLACE(bug) {&protocol_places, PLACE_##bug, "places: " #bug}
    PLACE(STEALS_BY_STORE), PLACE(TELLS_NOBODY), PLACE(CLEARS_FIRST),
    PLACE(WITHOUT_THREADS), PLACE(NEVER_STEALS), PLACE(SAME_GENERATION),
#define LOG(bug) {&protocol_log, LOG_##bug, "log: " #bug}
    LOG(SEALS_LATE), LOG(RAISES_TO_APPENDED), LOG(IGNORES_SEAL), LOG(SHARES_SEALED_BLOCK),
    LOG(SEALS_WHILE_SHARING), LOG(APPLIES_APPENDED), LOG(PUBLISHES_FRONT_FIRST),
    LOG(DOESNT_ADOPT), LOG(PUBLISHES_TAIL_FIRST), LOG(ACKNOWLEDGES_EARLY), LOG(SHARES_WHEN_SYNC),
#define SWITCH(bug) {&protocol_switch, SWITCH_##bug, "switch: " #bug}
    SWITCH(APPENDS_MEANWHILE), SWITCH(BEFORE_DATA_SYNC), SWITCH(BEFORE_APPLYING),
    SWITCH(PUBLISHES_BEFORE_SYNC), SWITCH(SKIPS_LOG_SYNC),
#define FAILS(bug) {&protocol_switch_log_fails, SWITCH_##bug, "switch: " #bug}
    FAILS(FORGETS_FAILURE), FAILS(TELLS_LATE), FAILS(BELIEVES_SYNC), FAILS(APPENDS_TO_FAILED),
#define DIES(bug) {&protocol_switch_fails_dies, SWITCH_##bug, "switch: " #bug}
    DIES(RENEWS_HEADER_FIRST), DIES(RENEWS_BY_APPLYING), DIES(CLEARS_FAILED_EARLY),
    DIES(RENEWS_LESS),
#define RENEWAL(bug) {&protocol_switch_renewal_fails, SWITCH_##bug, "switch: " #bug}
    RENEWAL(RENEWS_OVER_A_RENEWAL), RENEWAL(ERASES_ONCE),
    {&protocol_switch_data_fails, SWITCH_IGNORES_DATA_FAILURE, "switch: IGNORES_DATA_FAILURE"},
};

static const struct protocol *const protocols[] = {
    &protocol_gate,   &protocol_places,           &protocol_log,
    &protocol_log_three, &protocol_switch,        &protocol_switch_log_fails,
    &protocol_switch_fails_dies, &protocol_switch_renewal_fails, &protocol_switch_data_fails};

static void report(const char *name, const struct explore_result *result)
{
    printf("%-38s %9zu states %10zu moves  %s\n", name, result->states, result->moves,
           result->broken != NULL ? result->broken : "holds");
    fflush(stdout);
}

static void test_protocols_hold(void **unused)
{
    int broken = 0;
    (void)unused;
    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        struct explore_result result = explore(protocols[i], 0, true);
        report(protocols[i]->name, &result);
        broken += result.broken != NULL;
    }
    assert_int_equal(broken, 0);
}

static void test_each_broken_rule_is_found(void **unused)
{
    const bool trace = getenv("HF_TEST_TRACE") != NULL;
    int missed = 0;
    (void)unused;
    for (size_t i = 0; i < sizeof planted / sizeof *planted; i++) {
        struct explore_result result = explore(planted[i].protocol, planted[i].bug, trace);
        report(planted[i].name, &result);
        missed += result.broken == NULL;
    }
    assert_int_equal(missed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocols_hold),
        cmocka_unit_test(test_each_broken_rule_is_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
