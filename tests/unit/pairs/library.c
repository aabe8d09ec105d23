/* SPDX-License-Identifier: MIT */
#include <forkport/pairs.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "../netns.h"

#define PORT 21

static struct sockaddr_in listening_at(void)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons(PORT),
                                .sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* A socket that listens, on a device or on any (""), with one connection in its queue. */
static int connect_one(const char *device, int *ret_client_fd)
{
    const struct sockaddr_in in = listening_at();

    int listening_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    *ret_client_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(listening_fd, SOL_SOCKET, SO_BINDTODEVICE, device,
                                (socklen_t)strlen(device) + 1),
                     0);
    assert_int_equal(bind(listening_fd, (struct sockaddr *)&in, sizeof(in)), 0);
    assert_int_equal(listen(listening_fd, 7), 0);
    assert_int_equal(connect(*ret_client_fd, (struct sockaddr *)&in, sizeof(in)), 0);
    return listening_fd;
}

static void test_a_listening_socket_and_what_waits(void **state)
{
    const struct sockaddr_in in = listening_at();
    struct fp_pair_process process;
    struct fp_error err;
    struct fp_pair pair;
    struct stat about;
    char json[2048];

    (void)state;
    int client_fd;
    int listening_fd = connect_one("", &client_fd);
    assert_int_equal(fstat(listening_fd, &about), 0);
    struct fp_pairs *pairs = fp_pairs_new(&err);
    assert_non_null(pairs);
    assert_false(fp_pairs_get(pairs, 0, &pair));
    assert_int_equal(fp_pairs_filter(pairs, "nonsense:", &err), FP_USAGE);
    assert_int_equal(fp_pairs_filter(pairs, "local::21", &err), FP_OK);
    fp_pairs_count_bytes(pairs, true);
    for (int again = 0; again < 2; again++) {
        assert_int_equal(fp_pairs_read(pairs, &err), FP_OK);
        assert_true(fp_pairs_get(pairs, 0, &pair));
        assert_string_equal(pair.pair, "{127.0.0.1:21, *:*}");
        assert_string_equal(pair.proto, "tcp4");
        assert_string_equal(pair.state, "LISTEN");
        assert_int_equal(pair.owner, FP_OWNER_HELD);
        assert_int_equal(pair.inode, about.st_ino);
        assert_int_equal(pair.receive_queue, 1);
        assert_int_equal(pair.send_queue, 7);
        assert_false(pair.has_counts);
        assert_memory_equal(&pair.local, &in, sizeof(in));
        assert_true(fp_pairs_process(pairs, 0, 0, &process));
        assert_int_equal(process.pid, getpid());
        assert_int_equal(process.fd, listening_fd);
        assert_true(process.name[0] != '\0');
        assert_false(fp_pairs_process(pairs, 0, 1, &process));
        assert_true(fp_pairs_get(pairs, 1, &pair));
        assert_int_equal(pair.owner, FP_OWNER_WAITING);
        assert_true(pair.has_counts);
        assert_true(fp_pairs_process(pairs, 1, 0, &process));
        assert_int_equal(process.fd, listening_fd);
        assert_false(fp_pairs_get(pairs, 2, &pair));
        assert_false(fp_pairs_process(pairs, 2, 0, &process));
    }
    size_t length = fp_pairs_json(pairs, 0, json, sizeof(json));
    assert_null(strstr(json, "\"bytes_sent\""));
    assert_int_equal(length, strlen(json));
    assert_non_null(strstr(json, "\"pair\":\"{127.0.0.1:21, *:*}\""));
    assert_int_equal(fp_pairs_json(pairs, 0, json, 2), length);
    assert_string_equal(json, "{");
    close(client_fd);
    close(listening_fd);
    fp_pairs_free(pairs);
}

/* The thread is back in its own namespace afterwards, and another's sockets are not ours. */
static void test_another_namespace(void **state)
{
    struct fp_error err;
    struct fp_pair pair;

    (void)state;
    struct fp_pairs *pairs = fp_pairs_new(&err);
    assert_int_equal(fp_pairs_namespace(pairs, "there/is/none", &err), FP_OK);
    assert_int_equal(fp_pairs_read(pairs, &err), FP_NO_INPUT);
    assert_int_equal(fp_pairs_namespace(pairs, "/proc/thread-self/ns/net", &err), FP_OK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(fp_pairs_read(pairs, &err), FP_OK);
    assert_true(fp_pairs_get(pairs, 0, &pair));
    assert_string_equal(pair.state, "LISTEN");
    assert_int_equal(fp_pairs_namespace(pairs, NULL, &err), FP_OK);
    assert_int_equal(fp_pairs_read(pairs, &err), FP_OK);
    assert_true(fp_pairs_get(pairs, 0, &pair));
    close(fd);
    fp_pairs_free(pairs);
    fp_pairs_free(NULL);
}

/* Of a connection bound to a device: each end as the sockets themselves have it, and what each has sent. */
static void test_a_connection(void **state)
{
    const struct sockaddr_in in = listening_at();
    struct sockaddr_storage foreign = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof(foreign);
    struct fp_error err;
    struct fp_pair pair;
    char bytes[5];

    (void)state;
    int client_fd;
    int listening_fd = connect_one("lo", &client_fd);
    int fd = accept(listening_fd, (struct sockaddr *)&foreign, &length);
    assert_int_equal(send(client_fd, "12345", 5, 0), 5);
    assert_int_equal(recv(fd, bytes, sizeof(bytes), MSG_WAITALL), 5);
    assert_int_equal(send(fd, "123", 3, 0), 3);
    assert_int_equal(recv(client_fd, bytes, 3, MSG_WAITALL), 3);
    struct fp_pairs *pairs = fp_pairs_new(&err);
    fp_pairs_count_bytes(pairs, true);
    assert_int_equal(fp_pairs_filter(pairs, "local::21", &err), FP_OK);
    assert_int_equal(fp_pairs_filter(pairs, "established", &err), FP_OK);
    assert_int_equal(fp_pairs_read(pairs, &err), FP_OK);
    assert_true(fp_pairs_get(pairs, 0, &pair));
    assert_false(fp_pairs_get(pairs, 1, &pair));
    assert_memory_equal(&pair.local, &in, sizeof(in));
    assert_memory_equal(&pair.foreign, &foreign, sizeof(in));
    assert_string_equal(pair.device, "lo");
    assert_int_equal(pair.uid, getuid());
    assert_int_equal(pair.bytes_received, 5);
    assert_int_equal(pair.bytes_sent, 3);
    assert_int_equal(pair.bytes_resent, 0);
    assert_true(pair.rtt_us > 0);
    close(fd);
    close(client_fd);
    close(listening_fd);
    fp_pairs_free(pairs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_listening_socket_and_what_waits),
        cmocka_unit_test(test_another_namespace),
        cmocka_unit_test(test_a_connection),
    };

    return cmocka_run_group_tests(tests, netns_set_up, NULL);
}
