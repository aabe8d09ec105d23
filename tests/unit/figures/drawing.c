/* SPDX-License-Identifier: MIT */
#include "figures/drawing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "true_story.h"

#define SIZE 20000

static const char figure[] =
    "Figure 2.14. Second client connection with same server.\n"
    "\n"
    "  206.168.112.219                             12.106.32.254, 192.168.42.1\n"
    "+- client host --------------------+        +- server host --------------------+\n"
    "|                                  |        | +- server, pid 801 ------------+ |\n"
    "|                                  |        | | {*:21, *:*}                  | |\n"
    "|                                  |        | | listening socket             | |\n"
    "|                                  |        | +------------------------------+ |\n"
    "|                                  |        |    v forked by server            |\n"
    "| +- client 1, pid 821 ----------+ |        | +- child 1, pid 811 -----------+ |\n"
    "| | {206.168.112.219:1500,       | |        | | {12.106.32.254:21,           | |\n"
    "| |  12.106.32.254:21}           | |<------>| |  206.168.112.219:1500}       | |\n"
    "| | connected socket             | |        | | connected socket             | |\n"
    "| +------------------------------+ |        | +------------------------------+ |\n"
    "|                                  |        |    v forked by server            |\n"
    "| +- client 2, pid 822 ----------+ |        | +- child 2, pid 812 -----------+ |\n"
    "| | {206.168.112.219:1501,       | |        | | {12.106.32.254:21,           | |\n"
    "| |  12.106.32.254:21}           | |<------>| |  206.168.112.219:1501}       | |\n"
    "| | connected socket             | |        | | connected socket             | |\n"
    "| +------------------------------+ |        | +------------------------------+ |\n"
    "+----------------------------------+        +----------------------------------+\n";

static void draw(const struct story *story, enum story_scene scene, bool svg, char drawn[SIZE])
{
    struct drawing drawing;
    struct text text;

    text_init(&text, drawn, SIZE);
    drawing_make(story, scene, &drawing);
    if (svg)
        draw_svg(&drawing, &text);
    else
        draw_text(&drawing, false, &text);
    assert_in_range(text_end(&text), 1, SIZE - 1);
}

static void test_a_figure_in_ascii(void **state)
{
    struct story story;
    char drawn[SIZE];

    (void)state;
    tell_true_story(&story);
    draw(&story, SCENE_SECOND, false, drawn);
    assert_string_equal(drawn, figure);
}

/* What the table had is drawn, as wrong as it may be. */
static void test_what_is_drawn_is_what_was_seen(void **state)
{
    struct story story;
    char drawn[SIZE];

    (void)state;
    tell_true_story(&story);
    at_server(&story, SCENE_SECOND, 1)->holders[1] = PID_SERVER;
    at_server(&story, SCENE_SECOND, 1)->holder_count = 2;
    at_server(&story, SCENE_SECOND, 2)->state = DIAG_CLOSE_WAIT;
    at_server(&story, SCENE_SECOND, 2)->holder_count = 0;
    draw(&story, SCENE_SECOND, false, drawn);
    assert_non_null(strstr(drawn, "child 1, pid 811; server,"));
    assert_non_null(strstr(drawn, "+- no process -"));
    assert_non_null(strstr(drawn, "CLOSE-WAIT"));
    assert_null(strstr(drawn, "child 2"));
    assert_null(strstr(drawn, "forked by server"));
}

static void test_a_client_whose_peer_is_not_there(void **state)
{
    struct story story;
    char drawn[SIZE];

    (void)state;
    tell_true_story(&story);
    story.scenes[SCENE_SECOND][STAGE_SERVER].count = 2;
    draw(&story, SCENE_SECOND, false, drawn);
    assert_non_null(strstr(drawn, "client 2, pid 822"));
    assert_non_null(strstr(drawn, "<------>"));
    assert_ptr_equal(strstr(strstr(drawn, "<------>") + 1, "<------>"), NULL);
}

static void test_a_request_points_to_the_queue(void **state)
{
    struct story story;
    char drawn[SIZE];

    (void)state;
    tell_true_story(&story);
    draw(&story, SCENE_REQUEST, false, drawn);
    assert_non_null(strstr(drawn, "- SYN ->"));
    assert_non_null(strstr(drawn, "in the queue"));
}

/* As many sockets as a scene holds, on both sides. */
static void test_a_full_scene_fits(void **state)
{
    struct story story;
    char drawn[SIZE];

    (void)state;
    tell_true_story(&story);
    for (int i = 0; i < STORY_SOCKETS_MAX - 3; i++)
        true_socket(&story, SCENE_SECOND, STAGE_SERVER,
                    story_pair(&story, STAGE_SERVER, (uint16_t)(3000 + i)), (uint64_t)(100 + i), PID_SERVER);
    for (int i = 0; i < STORY_SOCKETS_MAX - 2; i++)
        true_socket(&story, SCENE_SECOND, STAGE_CLIENT,
                    story_pair(&story, STAGE_CLIENT, (uint16_t)(4000 + i)), (uint64_t)(200 + i),
                    PID_CLIENT_1);
    draw(&story, SCENE_SECOND, false, drawn);
    assert_non_null(strstr(drawn, "219:3004"));
    assert_non_null(strstr(drawn, "219:4005"));
    draw(&story, SCENE_SECOND, true, drawn);
    assert_non_null(strstr(drawn, "</svg>"));
}

static void test_a_picture_has_the_same_and_words_for_it(void **state)
{
    struct story story;
    char drawn[SIZE];

    (void)state;
    tell_true_story(&story);
    draw(&story, SCENE_SECOND, true, drawn);
    assert_non_null(strstr(drawn, "<title id=\"title\">Figure 2.14. Second client connection"));
    assert_non_null(strstr(drawn, "Server host, child 2, pid 812: {12.106.32.254:21, 206.168.112.219:1501} "
                                  "connected socket."));
    assert_non_null(strstr(drawn, "prefers-color-scheme: dark"));
    assert_non_null(strstr(drawn, ">{*:21, *:*}</text>"));
}

static size_t count_of(const char *drawn, const char *what)
{
    size_t count = 0;

    for (const char *at = drawn; (at = strstr(at, what)) != NULL; at++)
        count++;
    return count;
}

/* A connection has a head at both ends, a request at one, and is in no socket's hands; a fork has its own. */
static void test_a_picture_has_its_arrows(void **state)
{
    struct story story;
    char drawn[SIZE];

    (void)state;
    tell_true_story(&story);
    draw(&story, SCENE_SECOND, true, drawn);
    assert_int_equal(count_of(drawn, ">connection</text>"), 2);
    assert_int_equal(count_of(drawn, ">fork</text>"), 2);
    assert_int_equal(count_of(drawn, "class=\"head\""), 2 * 2 + 2);
    assert_int_equal(count_of(drawn, "class=\"box queue\""), 0);
    draw(&story, SCENE_REQUEST, true, drawn);
    assert_int_equal(count_of(drawn, "> request</text>"), 1);
    assert_int_equal(count_of(drawn, ">fork</text>"), 0);
    assert_int_equal(count_of(drawn, "class=\"head\""), 1);
    assert_int_equal(count_of(drawn, "class=\"box queue\""), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_figure_in_ascii),
        cmocka_unit_test(test_what_is_drawn_is_what_was_seen),
        cmocka_unit_test(test_a_client_whose_peer_is_not_there),
        cmocka_unit_test(test_a_request_points_to_the_queue),
        cmocka_unit_test(test_a_full_scene_fits),
        cmocka_unit_test(test_a_picture_has_the_same_and_words_for_it),
        cmocka_unit_test(test_a_picture_has_its_arrows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
