/* SPDX-License-Identifier: MIT */
#include "figures/claim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "true_story.h"

/* Kernels that do otherwise than the section says: each contradicts these claims, at least. */

static void another_server_listens(struct story *story)
{
    at_server(story, SCENE_LISTENING, 0)->holders[0] = PID_CHILD_1;
}

static void the_listening_socket_is_shared(struct story *story)
{
    at_server(story, SCENE_LISTENING, 0)->holders[1] = PID_CHILD_1;
    at_server(story, SCENE_LISTENING, 0)->holder_count = 2;
}

static void a_socket_is_there_already(struct story *story)
{
    true_socket(story, SCENE_LISTENING, STAGE_SERVER, story_pair(story, STAGE_SERVER, 1600), 50, PID_SERVER);
}

static void its_foreign_end_is_said(struct story *story)
{
    at_server(story, SCENE_LISTENING, 0)->pair.foreign = story->client;
}

static void it_listens_on_one_address(struct story *story)
{
    at_server(story, SCENE_LISTENING, 0)->pair.local = story->server[0];
}

static void the_second_address_is_refused(struct story *story)
{
    story->looks[LOOK_ANY_SECOND].cookie = 0;
}

static void one_is_any(struct story *story)
{
    story->looks[LOOK_ONE_OTHER].cookie = COOKIE_ONE;
}

static void one_is_none(struct story *story)
{
    story->looks[LOOK_ONE_ITSELF].cookie = 0;
}

static void a_list_can_be_bound(struct story *story)
{
    story->bind_again_errnum = 0;
}

static void the_client_has_no_socket(struct story *story)
{
    story->scenes[SCENE_REQUEST][STAGE_CLIENT].count = 0;
}

static void the_request_is_accepted_already(struct story *story)
{
    at_server(story, SCENE_REQUEST, 1)->queued = false;
}

static void the_queue_is_empty(struct story *story)
{
    at_server(story, SCENE_REQUEST, 0)->waiting = 0;
}

static void the_client_is_not_connected_yet(struct story *story)
{
    story->scenes[SCENE_REQUEST][STAGE_CLIENT].sockets[0].state = DIAG_SYN_SENT;
}

static void the_queue_is_shared(struct story *story)
{
    at_server(story, SCENE_REQUEST, 1)->holders[1] = PID_CHILD_1;
    at_server(story, SCENE_REQUEST, 1)->holder_count = 2;
}

static void the_server_keeps_the_connected_socket(struct story *story)
{
    at_server(story, SCENE_CHILD, 1)->holders[1] = PID_SERVER;
    at_server(story, SCENE_CHILD, 1)->holder_count = 2;
}

static void the_child_is_no_child(struct story *story)
{
    story->parents[ROLE_CHILD_1] = 1;
}

static void the_child_keeps_the_listening_socket(struct story *story)
{
    at_server(story, SCENE_CHILD, 0)->holders[1] = PID_CHILD_1;
    at_server(story, SCENE_CHILD, 0)->holder_count = 2;
}

static void the_two_sockets_are_one(struct story *story)
{
    at_server(story, SCENE_CHILD, 0)->cookie = COOKIE_SERVER;
}

static void the_listening_port_is_another(struct story *story)
{
    at_server(story, SCENE_CHILD, 0)->pair.local.port = 22;
}

static void the_local_address_was_there_before(struct story *story)
{
    at_server(story, SCENE_CHILD, 0)->pair.local = story->server[0];
}

static void a_port_is_used_twice(struct story *story)
{
    story->same_port_errnum = 0;
}

static void the_second_client_was_given_no_port(struct story *story)
{
    story->scenes[SCENE_SECOND][STAGE_CLIENT].count = 1;
}

static void the_connections_are_one_socket(struct story *story)
{
    at_server(story, SCENE_SECOND, 2)->cookie = COOKIE_SERVER;
}

static void one_child_serves_both(struct story *story)
{
    at_server(story, SCENE_SECOND, 2)->holders[0] = PID_CHILD_1;
}

static void the_children_are_one_process(struct story *story)
{
    story->pids[ROLE_CHILD_2] = story->readers[1] = PID_CHILD_1;
    for (int scene = SCENE_SECOND; scene < SCENES; scene++)
        at_server(story, (enum story_scene)scene, 2)->holders[0] = PID_CHILD_1;
}

static void a_fourth_socket_has_the_port(struct story *story)
{
    true_socket(story, SCENE_SECOND, STAGE_SERVER, story_pair(story, STAGE_SERVER, 1600), 50, PID_SERVER);
}

static void a_third_port_is_used(struct story *story)
{
    at_server(story, SCENE_SECOND, 0)->pair.local.port = 22;
}

static void the_port_alone_decides(struct story *story)
{
    story->looks[LOOK_FROM_2].cookie = COOKIE_SERVER;
    story->looks[LOOK_FROM_3].cookie = COOKIE_SERVER;
}

static void the_first_child_is_not_looked_up(struct story *story)
{
    story->looks[LOOK_FROM_1].cookie = 50;
}

static void another_port_was_looked_up(struct story *story)
{
    story->looks[LOOK_FROM_2].pair.local.port = 22;
}

static void the_foreign_address_does_not_count(struct story *story)
{
    story->looks[LOOK_OTHER_FOREIGN].cookie = COOKIE_SERVER;
}

static void the_local_address_does_not_count(struct story *story)
{
    story->looks[LOOK_OTHER_LOCAL].cookie = COOKIE_SERVER;
}

static void the_local_port_does_not_count(struct story *story)
{
    story->looks[LOOK_OTHER_LOCAL_PORT].cookie = COOKIE_SERVER;
}

static void the_second_child_reads_the_first_line(struct story *story)
{
    story->readers[0] = PID_CHILD_2;
}

static void the_first_line_reaches_both(struct story *story)
{
    at_server(story, SCENE_SENT_1, 2)->bytes_received = 15;
}

static void the_second_line_is_lost(struct story *story)
{
    at_server(story, SCENE_SENT_2, 2)->bytes_received = 0;
}

static void the_server_reads_the_second_line(struct story *story)
{
    story->readers[1] = PID_SERVER;
}

static void another_foreign_port_is_refused(struct story *story)
{
    story->looks[LOOK_FROM_3].cookie = 0;
}

static void the_third_goes_to_the_first_child(struct story *story)
{
    story->looks[LOOK_FROM_3].cookie = COOKIE_SERVER;
}

static void the_third_is_accepted_by_a_child(struct story *story)
{
    at_server(story, SCENE_OTHER, 3)->holders[0] = PID_CHILD_1;
}

static void the_third_is_in_no_queue(struct story *story)
{
    at_server(story, SCENE_OTHER, 3)->queued = false;
}

static void the_third_was_there_before(struct story *story)
{
    true_connection(story, SCENE_SECOND, 2, PID_SERVER)->bytes_received = 15;
}

static void segments_are_lost(struct story *story)
{
    story->segments_lost = 1;
}

static void a_segment_goes_astray(struct story *story)
{
    story->segments[2].cookie = COOKIE_SERVER + 1;
}

static void a_request_is_received_by_a_child(struct story *story)
{
    story->segments[0].cookie = COOKIE_SERVER;
}

static void nothing_was_captured(struct story *story)
{
    story->segment_count = 0;
}

static void there_is_no_listening_socket(struct story *story)
{
    for (int scene = 0; scene < SCENES; scene++)
        at_server(story, (enum story_scene)scene, 0)->state = DIAG_CLOSED;
}

#define CLAIMS_MAX 9

static const struct contradiction {
    const char *name;
    void (*change)(struct story *story);
    const char *claims[CLAIMS_MAX + 1]; /* how what they say begins */
} contradictions[] = {
#define CHANGE(function) #function, function
    {CHANGE(another_server_listens), {"The server does a passive open"}},
    {CHANGE(the_listening_socket_is_shared), {"The server does a passive open"}},
    {CHANGE(a_socket_is_there_already), {"The server does a passive open"}},
    {CHANGE(its_foreign_end_is_said), {"The server does a passive open"}},
    {CHANGE(it_listens_on_one_address), {"The server does a passive open"}},
    {CHANGE(the_second_address_is_refused), {"It waits for a connection request on any"}},
    {CHANGE(one_is_any), {"It can specify that it wants only one"}},
    {CHANGE(one_is_none), {"It can specify that it wants only one"}},
    {CHANGE(a_list_can_be_bound), {"It cannot specify a list"}},
    {CHANGE(the_client_has_no_socket), {"The client executes an active open"}},
    {CHANGE(the_request_is_accepted_already), {"Its request is for the listening socket"}},
    {CHANGE(the_queue_is_empty), {"Its request is for the listening socket"}},
    {CHANGE(the_client_is_not_connected_yet), {"The client executes an active open"}},
    {CHANGE(the_queue_is_shared), {"Its request is for the listening socket"}},
    {CHANGE(the_server_keeps_the_connected_socket), {"The server forks a copy"}},
    {CHANGE(the_child_is_no_child), {"The server forks a copy", "Each connection is handled"}},
    {CHANGE(the_child_keeps_the_listening_socket), {"The listening socket and the connected"}},
    {CHANGE(the_two_sockets_are_one), {"The listening socket and the connected"}},
    {CHANGE(the_listening_port_is_another), {"The connected socket has the same local port"}},
    {CHANGE(the_local_address_was_there_before), {"The local address is filled in"}},
    {CHANGE(a_port_is_used_twice), {"TCP on the client host assigns"}},
    {CHANGE(the_second_client_was_given_no_port), {"TCP on the client host assigns"}},
    {CHANGE(the_connections_are_one_socket), {"The connections are distinct"}},
    {CHANGE(one_child_serves_both), {"Each connection is handled"}},
    {CHANGE(the_children_are_one_process), {"Each connection is handled"}},
    {CHANGE(a_fourth_socket_has_the_port), {"There are three sockets"}},
    {CHANGE(a_third_port_is_used), {"There are three sockets"}},
    {CHANGE(the_port_alone_decides),
     {"TCP cannot demultiplex", "It must look at all four", "All other segments", "A segment from port 1501",
      "A connection request from port 1502"}},
    {CHANGE(the_first_child_is_not_looked_up), {"It must look at all four", "A segment from port 1500"}},
    {CHANGE(another_port_was_looked_up), {"TCP cannot demultiplex"}},
    {CHANGE(the_foreign_address_does_not_count), {"It must look at all four", "All other segments"}},
    {CHANGE(the_local_address_does_not_count), {"It must look at all four", "All other segments"}},
    {CHANGE(the_local_port_does_not_count), {"It must look at all four"}},
    {CHANGE(the_second_child_reads_the_first_line), {"A segment from port 1500"}},
    {CHANGE(the_first_line_reaches_both), {"A segment from port 1500", "A segment from port 1501"}},
    {CHANGE(the_second_line_is_lost), {"A segment from port 1501"}},
    {CHANGE(the_server_reads_the_second_line), {"A segment from port 1501"}},
    {CHANGE(another_foreign_port_is_refused),
     {"TCP cannot demultiplex", "All other segments", "A connection request from port 1502"}},
    {CHANGE(the_third_goes_to_the_first_child),
     {"TCP cannot demultiplex", "All other segments", "A connection request from port 1502"}},
    {CHANGE(the_third_is_accepted_by_a_child), {"A connection request from port 1502"}},
    {CHANGE(the_third_is_in_no_queue), {"A connection request from port 1502"}},
    {CHANGE(the_third_was_there_before), {"There are three sockets", "A connection request from port 1502"}},
    {CHANGE(segments_are_lost), {"Every segment went"}},
    {CHANGE(a_segment_goes_astray), {"Every segment went"}},
    {CHANGE(a_request_is_received_by_a_child), {"Every segment went"}},
    {CHANGE(nothing_was_captured), {"Every segment went"}},
    {CHANGE(there_is_no_listening_socket),
     {"The server does a passive open", "It waits for a connection request on any", "Its request is for",
      "The listening socket and", "The connected socket has", "The local address is", "All other",
      "A connection request from port 1502", "Every segment"}},
};

static bool is_named(const struct contradiction *contradiction, const struct claim *claim)
{
    for (size_t i = 0; contradiction->claims[i] != NULL; i++) {
        if (strncmp(claim->says, contradiction->claims[i], strlen(contradiction->claims[i])) == 0)
            return true;
    }
    return false;
}

static size_t named(const struct contradiction *contradiction)
{
    size_t count = 0;

    while (contradiction->claims[count] != NULL)
        count++;
    return count;
}

static void test_all_hold_of_the_story_of_the_section(void **state)
{
    char proof[CLAIM_PROOF_SIZE];
    struct story story;

    (void)state;
    tell_true_story(&story);
    for (size_t i = 0; i < claim_count; i++) {
        if (!claim_check(&claims[i], &story, proof))
            fail_msg("%s: %s", claims[i].says, proof);
        assert_string_not_equal(proof, "");
        /* A line of the report has room for it. */
        assert_in_range(strlen(claims[i].says), 1, 68);
    }
    assert_int_equal(claims_failed(&story), 0);
}

/* Those that are named fail and no others, each with a word on why. */
static void test_what_contradicts_a_claim_makes_it_fail(void **state)
{
    char proof[CLAIM_PROOF_SIZE];
    struct story story;

    (void)state;
    for (size_t at = 0; at < sizeof(contradictions) / sizeof(contradictions[0]); at++) {
        const struct contradiction *contradiction = &contradictions[at];
        tell_true_story(&story);
        contradiction->change(&story);
        for (size_t i = 0; i < claim_count; i++) {
            bool expected = !is_named(contradiction, &claims[i]);
            if (claim_check(&claims[i], &story, proof) != expected)
                fail_msg("%s: \"%s\" should%s hold: %s", contradiction->name, claims[i].says,
                         expected ? "" : " not", proof);
            assert_string_not_equal(proof, "");
        }
        assert_int_equal(claims_failed(&story), named(contradiction));
    }
}

static void test_every_claim_is_contradicted(void **state)
{
    (void)state;
    for (size_t i = 0; i < claim_count; i++) {
        bool found = false;
        for (size_t at = 0; at < sizeof(contradictions) / sizeof(contradictions[0]); at++)
            found = found || is_named(&contradictions[at], &claims[i]);
        if (!found)
            fail_msg("nothing contradicts: %s", claims[i].says);
    }
}

static void test_of_a_story_of_nothing_no_claim_holds(void **state)
{
    static struct story nothing;

    (void)state;
    nothing.server[0].port = 21;
    assert_int_equal(claims_failed(&nothing), claim_count);
}

/* The kernel has two names for it, by whether the port is bound first. */
static void test_a_port_is_refused_in_one_of_two_ways(void **state)
{
    struct story story;

    (void)state;
    tell_true_story(&story);
    story.same_port_errnum = EADDRINUSE;
    assert_int_equal(claims_failed(&story), 0);
    story.same_port_errnum = ECONNREFUSED;
    assert_int_equal(claims_failed(&story), 1);
}

/* What could not be seen is said, and is not held against TCP. */
static void test_segments_that_cannot_be_captured(void **state)
{
    char proof[CLAIM_PROOF_SIZE];
    struct story story;

    (void)state;
    tell_true_story(&story);
    story.segment_count = 0;
    story.tap_errnum = EPERM;
    assert_int_equal(claims_failed(&story), 0);
    claim_check(&claims[claim_count - 1], &story, proof);
    assert_non_null(strstr(proof, "Operation not permitted"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_hold_of_the_story_of_the_section),
        cmocka_unit_test(test_what_contradicts_a_claim_makes_it_fail),
        cmocka_unit_test(test_every_claim_is_contradicted),
        cmocka_unit_test(test_of_a_story_of_nothing_no_claim_holds),
        cmocka_unit_test(test_a_port_is_refused_in_one_of_two_ways),
        cmocka_unit_test(test_segments_that_cannot_be_captured),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
