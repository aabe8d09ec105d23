/* SPDX-License-Identifier: MIT */
#include "wire/packet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A frame put together from the outside in; lengths are given by whoever makes it, right or wrong. */
struct frame {
    uint8_t bytes[512];
    uint32_t length;
};

static void put(struct frame *frame, const char *hex)
{
    for (; *hex != '\0'; hex++) {
        if (*hex == ' ')
            continue;
        char digits[3] = {hex[0], hex[1], '\0'};
        assert_true(frame->length < sizeof(frame->bytes));
        frame->bytes[frame->length++] = (uint8_t)strtoul(digits, NULL, 16);
        hex++;
    }
}

static struct frame frame_of(const char *first, const char *second, const char *third)
{
    struct frame frame = {.length = 0};

    put(&frame, first);
    put(&frame, second);
    put(&frame, third);
    return frame;
}

#define ETHERNET_4 "020000000001 020000000002 0800"
#define ETHERNET_6 "020000000001 020000000002 86dd"
/* 198.51.100.7 to 192.0.2.1, 43 bytes in all. */
#define IPV4 "4500 002b 1234 4000 40 06 0000 c6336407 c0000201"
/* 2001:db8::7 to 2001:db8::1, 23 bytes behind it. */
#define IPV6_ENDS "20010db8000000000000000000000007 20010db8000000000000000000000001"
#define IPV6      "60000000 0017 06 40 " IPV6_ENDS
/* 1500 to 21: SYN ACK, sequence 0x01020304, acknowledges 0x05060708, three bytes. */
#define TCP "05dc 0015 01020304 05060708 5012 ffdc 0000 0000 616263"

static enum packet_class parse(int link, const struct frame *frame, uint32_t captured,
                               struct segment *ret_segment, const char **ret_reason)
{
    /* A block of just what was captured, for the sanitizers. */
    uint8_t *bytes = malloc(captured + 1);

    assert_non_null(bytes);
    memcpy(bytes, frame->bytes, captured);
    enum packet_class class = packet_parse(link, bytes, captured, frame->length, ret_segment, ret_reason);
    free(bytes);
    return class;
}

static struct segment segment_of(int link, const struct frame *frame)
{
    struct segment segment = {.length = 0};
    const char *reason;

    assert_int_equal(parse(link, frame, frame->length, &segment, &reason), PACKET_SEGMENT);
    assert_null(reason);
    return segment;
}

static void assert_pair(const struct segment *segment, const char *shown)
{
    char buffer[PAIR_TEXT_SIZE];
    struct text text;

    text_init(&text, buffer, sizeof(buffer));
    pair_format(&segment->pair, &text);
    text_end(&text);
    assert_string_equal(buffer, shown);
}

static void test_a_segment(void **state)
{
    struct frame frame = frame_of(ETHERNET_4, IPV4, TCP);
    struct segment segment = segment_of(PACKET_LINK_ETHERNET, &frame);

    (void)state;
    assert_pair(&segment, "{192.0.2.1:21, 198.51.100.7:1500}");
    assert_int_equal(segment.sequence, 0x01020304);
    assert_int_equal(segment.acknowledgement, 0x05060708);
    assert_int_equal(segment.flags, SEGMENT_SYN | SEGMENT_ACK);
    assert_int_equal(segment.length, 3);
    assert_int_equal(segment.direction, PACKET_UNKNOWN);
    assert_false(segment.more);
    /* It says 0x1234, which tells of no other fragment where there is none. */
    assert_int_equal(segment.identification, 0);
}

/* The ninth flag (AE, once NS) stands beside the length of the header. */
static void test_all_the_flags(void **state)
{
    struct frame frame = frame_of(IPV4, "05dc 0015 01020304 05060708 51ff ffdc 0000 0000 616263", "");

    (void)state;
    assert_int_equal(segment_of(PACKET_LINK_RAW, &frame).flags, 0x1ff);
}

/* A file that says that a frame was shorter than what it holds of it: what is there counts. */
static void test_a_length_below_what_was_captured(void **state)
{
    struct frame frame = frame_of(ETHERNET_4, IPV4, TCP);
    struct segment segment = {.length = 0};
    const char *reason;
    uint32_t captured = frame.length;

    (void)state;
    for (frame.length = 0; frame.length < captured; frame.length++) {
        assert_int_equal(parse(PACKET_LINK_ETHERNET, &frame, captured, &segment, &reason), PACKET_SEGMENT);
        assert_int_equal(segment.length, 3);
    }
}

/* Every link, each with IPv4 or IPv6 behind it. */
static void test_links(void **state)
{
    static const struct {
        int link;
        const char *header;
        bool is_v6;
        enum packet_direction direction;
        uint32_t interface;
    } rows[] = {
        {PACKET_LINK_ETHERNET, ETHERNET_4, false, PACKET_UNKNOWN, 0},
        {PACKET_LINK_ETHERNET, ETHERNET_6, true, PACKET_UNKNOWN, 0},
        {PACKET_LINK_ETHERNET, "020000000001 020000000002 8100 0005 0800", false, PACKET_UNKNOWN, 0},
        {PACKET_LINK_ETHERNET, "020000000001 020000000002 88a8 0005 8100 0006 86dd", true, PACKET_UNKNOWN, 0},
        {PACKET_LINK_ETHERNET, "020000000001 020000000002 9100 0005 8100 0006 0800", false, PACKET_UNKNOWN,
         0},
        {PACKET_LINK_RAW, "", false, PACKET_UNKNOWN, 0},
        {PACKET_LINK_RAW_OPENBSD, "", true, PACKET_UNKNOWN, 0},
        {PACKET_LINK_RAW_FILE, "", true, PACKET_UNKNOWN, 0},
        {PACKET_LINK_IPV4, "", false, PACKET_UNKNOWN, 0},
        {PACKET_LINK_IPV6, "", true, PACKET_UNKNOWN, 0},
        {PACKET_LINK_NULL, "02000000", false, PACKET_UNKNOWN, 0},
        {PACKET_LINK_NULL, "00000002", false, PACKET_UNKNOWN, 0},
        {PACKET_LINK_NULL, "1e000000", true, PACKET_UNKNOWN, 0},
        {PACKET_LINK_NULL, "18000000", true, PACKET_UNKNOWN, 0},
        {PACKET_LINK_NULL, "0a000000", true, PACKET_UNKNOWN, 0},
        {PACKET_LINK_LOOP, "0000001c", true, PACKET_UNKNOWN, 0},
        {PACKET_LINK_COOKED, "0000 0001 0006 0200000000010000 0800", false, PACKET_INCOMING, 0},
        {PACKET_LINK_COOKED, "0001 0001 0006 0200000000010000 0800", false, PACKET_BROADCAST, 0},
        {PACKET_LINK_COOKED, "0002 0001 0006 0200000000010000 0800", false, PACKET_MULTICAST, 0},
        {PACKET_LINK_ETHERNET, "ffffffffffff 020000000002 0800", false, PACKET_BROADCAST, 0},
        {PACKET_LINK_ETHERNET, "333300000001 020000000002 86dd", true, PACKET_MULTICAST, 0},
        {PACKET_LINK_COOKED, "0003 0001 0006 0200000000010000 86dd", true, PACKET_FOR_ANOTHER, 0},
        {PACKET_LINK_COOKED, "0004 0001 0006 0200000000010000 8100 0005 0800", false, PACKET_OUTGOING, 0},
        {PACKET_LINK_COOKED, "0009 0001 0006 0200000000010000 0800", false, PACKET_UNKNOWN, 0},
        {PACKET_LINK_COOKED_2, "0800 0000 00000007 0001 04 06 0200000000010000", false, PACKET_OUTGOING, 7},
        {PACKET_LINK_COOKED_2, "86dd 0000 00000002 0001 00 06 0200000000010000", true, PACKET_INCOMING, 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct frame frame = frame_of(rows[i].header, rows[i].is_v6 ? IPV6 : IPV4, TCP);
        struct segment segment = segment_of(rows[i].link, &frame);
        assert_true(packet_link_known(rows[i].link));
        assert_pair(&segment, rows[i].is_v6 ? "{[2001:db8::1]:21, [2001:db8::7]:1500}"
                                            : "{192.0.2.1:21, 198.51.100.7:1500}");
        assert_int_equal(segment.length, 3);
        assert_int_equal(segment.direction, rows[i].direction);
        assert_int_equal(segment.interface, rows[i].interface);
    }
    assert_false(packet_link_known(147));
}

static void test_what_is_between(void **state)
{
    static const struct {
        const char *ip;
        const char *payload;
        uint32_t length;
    } rows[] = {
        /* options of IPv4; padding of Ethernet behind the packet; a super-segment whose length says 0 */
        {"4600 002f 1234 4000 40 06 0000 c6336407 c0000201 94040000", TCP, 3},
        {IPV4, TCP " 000000000000", 3},
        {"4500 0000 1234 4000 40 06 0000 c6336407 c0000201", TCP " 64656667", 7},
        /* hop by hop, routing, destination options, an atomic fragment, authentication */
        {"60000000 001f 00 40 " IPV6_ENDS, "06 00 010400000000 " TCP, 3},
        {"60000000 002f 00 40 " IPV6_ENDS, "2b 00 010400000000 3c 00 000000000000 06 00 010400000000 " TCP,
         3},
        {"60000000 001f 2c 40 " IPV6_ENDS, "06 00 0000 00000007 " TCP, 3},
        {"60000000 002f 33 40 " IPV6_ENDS, "06 04 0000 00000001 00000001 000000000000000000000000 " TCP, 3},
        /* a jumbogram, whose option says less than the frame has; and one without the option */
        {"60000000 0000 00 40 " IPV6_ENDS, "06 00 c204 0000001f " TCP " 7878", 3},
        {"60000000 0000 06 40 " IPV6_ENDS, TCP " 7878", 5},
        /* that option behind two of padding; and one cut by the end of the options, which is none */
        {"60000000 0000 00 40 " IPV6_ENDS, "06 01 00 0103ffffff c20400000027 0000 " TCP " 7878", 3},
        {"60000000 002f 00 40 " IPV6_ENDS, "00 00 01020000c204 00 00 000102000000 06 00 010400000000 " TCP,
         3},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct frame frame = frame_of(rows[i].ip, rows[i].payload, "");
        struct segment segment = segment_of(PACKET_LINK_RAW, &frame);
        assert_int_equal(segment.pair.foreign.port, 1500);
        assert_int_equal(segment.pair.local.port, 21);
        assert_int_equal(segment.length, rows[i].length);
        assert_false(segment.more);
    }
}

/* Whom it is for, and who that is, by its addresses and its way. */
static void test_what_goes_on_or_comes_from_nowhere(void **state)
{
#define IPV4_TO(source, target) "4500 002b 1234 4000 40 06 0000" source target
#define ROUTE_6(kind, left) \
    "06 04" kind left "00000000 20010db8000000000000000000000002 20010db8000000000000000000000003"
#define COOKED_1(hardware) "0000" hardware "0006 0200000000010000 0800"
    static const struct {
        int link;
        const char *header;
        const char *ip;
        enum packet_direction direction;
        const char *local;
    } rows[] = {
        {PACKET_LINK_RAW, "", "4800 0037 1234 4000 40 06 0000 c6336407 c0000201 01 830b04 cb007101 cb007102",
         PACKET_FOR_ANOTHER, "203.0.113.2"},
        {PACKET_LINK_RAW, "", "4800 0037 1234 4000 40 06 0000 c6336407 c0000201 01 890b0c cb007101 cb007102",
         PACKET_UNKNOWN, "192.0.2.1"},
        {PACKET_LINK_RAW, "", "4700 0033 1234 4000 40 06 0000 c6336407 c0000201 00 830704 cb007101",
         PACKET_UNKNOWN, "192.0.2.1"},
        {PACKET_LINK_RAW, "", "4700 0033 1234 4000 40 06 0000 c6336407 c0000201 01 830904 cb007101",
         PACKET_UNKNOWN, "192.0.2.1"},
        {PACKET_LINK_RAW, "", "60000000 003f 2b 40 " IPV6_ENDS ROUTE_6("00", "02"), PACKET_FOR_ANOTHER,
         "2001:db8::3"},
        {PACKET_LINK_RAW, "", "60000000 003f 2b 40 " IPV6_ENDS ROUTE_6("04", "01"), PACKET_FOR_ANOTHER,
         "2001:db8::2"},
        {PACKET_LINK_RAW, "", "60000000 003f 2b 40 " IPV6_ENDS ROUTE_6("03", "01"), PACKET_FOR_ANOTHER,
         "2001:db8::1"},
        {PACKET_LINK_RAW, "", "60000000 003f 2b 40 " IPV6_ENDS ROUTE_6("00", "00"), PACKET_UNKNOWN,
         "2001:db8::1"},
        {PACKET_LINK_RAW, "", IPV4_TO("e0000001", "c0000201"), PACKET_MARTIAN, "192.0.2.1"},
        {PACKET_LINK_RAW, "", IPV4_TO("7f000001", "c0000201"), PACKET_UNKNOWN, "192.0.2.1"},
        {PACKET_LINK_ETHERNET, ETHERNET_4, IPV4_TO("7f000001", "c0000201"), PACKET_MARTIAN_LOOPBACK,
         "192.0.2.1"},
        {PACKET_LINK_ETHERNET, "000000000000 000000000000 0800", IPV4_TO("7f000001", "7f000001"),
         PACKET_UNKNOWN, "127.0.0.1"},
        {PACKET_LINK_COOKED, COOKED_1("0001"), IPV4_TO("c6336407", "7f000001"), PACKET_MARTIAN_LOOPBACK,
         "127.0.0.1"},
        {PACKET_LINK_COOKED, COOKED_1("0304"), IPV4_TO("7f000001", "7f000001"), PACKET_INCOMING, "127.0.0.1"},
        {PACKET_LINK_COOKED_2, "0800 0000 00000007 0001 00 06 0200000000010000",
         IPV4_TO("7f000001", "c0000201"), PACKET_MARTIAN_LOOPBACK, "192.0.2.1"},
        {PACKET_LINK_COOKED_2, "0800 0000 00000001 0304 00 06 0000000000000000",
         IPV4_TO("7f000001", "7f000001"), PACKET_INCOMING, "127.0.0.1"},
    };
    char buffer[ADDRESS_TEXT_SIZE];
    struct text text;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct frame frame = frame_of(rows[i].header, rows[i].ip, TCP);
        struct segment segment = segment_of(rows[i].link, &frame);
        assert_int_equal(segment.direction, rows[i].direction);
        text_init(&text, buffer, sizeof(buffer));
        address_format_host(&segment.pair.local, &text);
        text_end(&text);
        assert_string_equal(buffer, rows[i].local);
        assert_int_equal(packet_is_for_host(&segment), rows[i].direction <= PACKET_OUTGOING);
    }
}

static void test_fragments(void **state)
{
    struct frame first = frame_of("4500 002b 1234 2000 40 06 0000 c6336407 c0000201", TCP, "");
    struct frame later = frame_of("4500 001c 1234 0003 40 06 0000 c6336407 c0000201", "4142434445464748", "");
    struct frame later_6 =
        frame_of("60000000 0010 2c 40 " IPV6_ENDS, "06 00 0018 00000007", "4142434445464748");
    struct frame first_6 = frame_of("60000000 001f 2c 40 " IPV6_ENDS, "06 00 0001 00000007", TCP);
    struct frame middle_6 =
        frame_of("60000000 0010 2c 40 " IPV6_ENDS, "06 00 0019 00000007", "4142434445464748");
    struct frame split = frame_of("4500 001c 1234 2000 40 06 0000 c6336407 c0000201", "05dc001501020304", "");
    struct frame options = frame_of("4500 002c 1234 2000 40 06 0000 c6336407 c0000201",
                                    "05dc 0015 01020304 00000000 8002 ffdc 0000 0000 020405b4", "");
    struct frame udp = frame_of("4500 001c 1234 0003 40 11 0000 c6336407 c0000201", "4142434445464748", "");
    struct segment segment = segment_of(PACKET_LINK_RAW, &first);
    const char *reason;

    (void)state;
    assert_true(segment.more);
    assert_int_equal(segment.identification, 0x1234);
    assert_int_equal(parse(PACKET_LINK_RAW, &later, later.length, &segment, &reason), PACKET_FRAGMENT);
    assert_int_equal(segment.identification, 0x1234);
    assert_int_equal(segment.offset, 24);
    assert_int_equal(segment.length, 8);
    assert_false(segment.more);
    assert_int_equal(segment.pair.local.port, 0);
    assert_int_equal(parse(PACKET_LINK_RAW, &later_6, later_6.length, &segment, &reason), PACKET_FRAGMENT);
    assert_int_equal(segment.identification, 7);
    assert_int_equal(segment.offset, 24);
    assert_int_equal(segment.length, 8);
    assert_false(segment.more);
    assert_int_equal(parse(PACKET_LINK_RAW, &middle_6, middle_6.length, &segment, &reason), PACKET_FRAGMENT);
    assert_int_equal(segment.offset, 24);
    assert_true(segment.more);
    segment = segment_of(PACKET_LINK_RAW, &first_6);
    assert_int_equal(segment.identification, 7);
    assert_true(segment.more);
    assert_int_equal(parse(PACKET_LINK_RAW, &split, split.length, &segment, &reason), PACKET_SPLIT);
    assert_int_equal(segment.identification, 0x1234);
    assert_non_null(reason);
    /* Cut besides, it is nothing else. */
    assert_int_equal(parse(PACKET_LINK_RAW, &split, 20, &segment, &reason), PACKET_SPLIT);
    segment = segment_of(PACKET_LINK_RAW, &options);
    assert_int_equal(segment.flags, SEGMENT_SYN);
    assert_int_equal(segment.length, 0);
    assert_int_equal(parse(PACKET_LINK_RAW, &udp, udp.length, &segment, &reason), PACKET_OTHER);
}

static void test_what_is_none(void **state)
{
    static const struct {
        int link;
        const char *frame;
        enum packet_class class;
    } rows[] = {
        {PACKET_LINK_ETHERNET, "020000000001 020000000002 0806 0001", PACKET_OTHER},
        {PACKET_LINK_ETHERNET, "020000000001", PACKET_MALFORMED},
        {PACKET_LINK_ETHERNET, "020000000001 020000000002 8100 00", PACKET_MALFORMED},
        {PACKET_LINK_RAW, "", PACKET_MALFORMED},
        {PACKET_LINK_RAW, "00", PACKET_OTHER},
        {PACKET_LINK_NULL, "63000000 45", PACKET_OTHER},
        {147, "4500", PACKET_OTHER},
        {PACKET_LINK_ETHERNET, ETHERNET_4 IPV6 TCP, PACKET_MALFORMED},
        {PACKET_LINK_ETHERNET, ETHERNET_6 IPV4 TCP " 0000000000", PACKET_MALFORMED},
        {PACKET_LINK_RAW, "4500 001c 1234 4000 40 11 0000 c6336407 c0000201 0000000000000000", PACKET_OTHER},
        {PACKET_LINK_RAW, "4400 002b 1234 4000 40 06 0000 c6336407 c0000201 " TCP, PACKET_MALFORMED},
        {PACKET_LINK_RAW, "4500 0013 1234 4000 40 06 0000 c6336407 c0000201 " TCP, PACKET_MALFORMED},
        {PACKET_LINK_RAW, "4500 0020 1234 4000 40 06 0000 c6336407 c0000201 " TCP, PACKET_MALFORMED},
        {PACKET_LINK_RAW, IPV4 "05dc 0015 01020304 05060708 4012 ffdc 0000 0000 616263", PACKET_MALFORMED},
        {PACKET_LINK_RAW, IPV4 "05dc 0015 01020304 05060708 6012 ffdc 0000 0000 616263", PACKET_MALFORMED},
        {PACKET_LINK_RAW, "60000000 0007 00 40 " IPV6_ENDS "06 00 010400000000 " TCP, PACKET_MALFORMED},
        {PACKET_LINK_RAW, "60000000 0000 00 40 " IPV6_ENDS "06 00 c204 00000003 " TCP, PACKET_MALFORMED},
        {PACKET_LINK_RAW, "4500 002c 1234 4000 40 06 0000 c6336407 c0000201 " TCP, PACKET_MALFORMED},
        {PACKET_LINK_RAW, "60000000 0018 06 40 " IPV6_ENDS TCP, PACKET_MALFORMED},
        {PACKET_LINK_RAW, "60000000 0000 00 40 " IPV6_ENDS "06 00 c204 00000020 " TCP, PACKET_MALFORMED},
        {PACKET_LINK_RAW,
         "60000000 0017 06 40 00000000000000000000ffffc6336407 00000000000000000000ffffc0000201" TCP,
         PACKET_MALFORMED},
        {PACKET_LINK_RAW, "60000000 001f 32 40 " IPV6_ENDS "0000000000000000 " TCP, PACKET_OTHER},
    };
    struct segment segment = {.length = 77};
    const char *reason;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct frame frame = frame_of(rows[i].frame, "", "");
        assert_int_equal(parse(rows[i].link, &frame, frame.length, &segment, &reason), rows[i].class);
        assert_int_equal(reason != NULL, rows[i].class == PACKET_MALFORMED);
        assert_int_equal(segment.length, 77);
    }
}

/* Of every frame each beginning: too little is PACKET_SHORT, what has the TCP header is the same segment. */
static void test_cut_anywhere(void **state)
{
    static const struct {
        int link;
        const char *header;
        const char *ip;
    } rows[] = {
        {PACKET_LINK_ETHERNET, "020000000001 020000000002 8100 0005 0800", IPV4},
        {PACKET_LINK_RAW, "60000000 003f 00 40 " IPV6_ENDS "2b 00 010400000000 33 00 000000000000",
         "06 04 0000 00000001 00000001 000000000000000000000000"},
        {PACKET_LINK_COOKED, "0000 0001 0006 0200000000010000 86dd", IPV6},
        {PACKET_LINK_COOKED_2, "86dd 0000 00000002 0001 00 06 0200000000010000", IPV6},
        {PACKET_LINK_NULL, "02000000", IPV4},
    };
    const char *reason;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct frame frame = frame_of(rows[i].header, rows[i].ip, TCP);
        uint32_t whole = frame.length - 3;
        for (uint32_t captured = 0; captured <= frame.length; captured++) {
            struct segment segment = {.length = 0};
            enum packet_class class = parse(rows[i].link, &frame, captured, &segment, &reason);
            assert_int_equal(class, captured >= whole ? PACKET_SEGMENT : PACKET_SHORT);
            assert_int_equal(reason == NULL, captured >= whole);
            assert_int_equal(segment.length, captured >= whole ? 3 : 0);
        }
    }
}

static void test_flags(void **state)
{
    static const struct {
        uint16_t flags;
        const char *shown;
    } rows[] = {
        {0, "none"},
        {SEGMENT_SYN, "SYN"},
        {SEGMENT_ACK | SEGMENT_SYN, "SYN,ACK"},
        {0x1ff, "SYN,FIN,RST,PSH,ACK,URG,ECE,CWR,AE"},
    };
    char buffer[64];
    struct text text;
    uint16_t flags;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text_init(&text, buffer, sizeof(buffer));
        packet_format_flags(rows[i].flags, &text);
        text_end(&text);
        assert_string_equal(buffer, rows[i].shown);
        assert_int_equal(packet_parse_flags(buffer, &flags, NULL), FP_OK);
        assert_int_equal(flags, rows[i].flags);
    }
    assert_int_equal(packet_parse_flags("ack,Syn", &flags, NULL), FP_OK);
    assert_int_equal(flags, SEGMENT_SYN | SEGMENT_ACK);
    for (const char *const *bad = (const char *const[]){"", ",", "SYN,", "SYN ACK", "S", "SYNN", NULL}; *bad;
         bad++) {
        assert_int_equal(packet_parse_flags(*bad, &flags, NULL), FP_USAGE);
        assert_int_equal(flags, SEGMENT_SYN | SEGMENT_ACK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_segment),
        cmocka_unit_test(test_all_the_flags),
        cmocka_unit_test(test_a_length_below_what_was_captured),
        cmocka_unit_test(test_links),
        cmocka_unit_test(test_what_is_between),
        cmocka_unit_test(test_what_goes_on_or_comes_from_nowhere),
        cmocka_unit_test(test_fragments),
        cmocka_unit_test(test_what_is_none),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_flags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
