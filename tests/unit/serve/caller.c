/* SPDX-License-Identifier: MIT
 *
 * What a program does beside its server: threads that read, exit functions, descriptors and variables of its own, and
 * limits that it has come to.
 */
#include "visit.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>

static int hello(struct fp_connection *connection, void *data)
{
    (void)connection;
    (void)data;
    printf("hello\n");
    return 0;
}

/* A console: standard input is read all the time, and nothing comes. */
static void *read_console(void *data)
{
    char line[64];

    while (fgets(line, sizeof(line), stdin) != NULL)
        ;
    return data;
}

static void test_a_thread_that_reads_standard_input(void **state)
{
    struct visit visit = {.server = make(hello), .clients = 2};
    int saved = fcntl(0, F_DUPFD_CLOEXEC, 10);
    pthread_t console;
    int ends[2];

    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(dup2(ends[0], 0), 0);
    start_thread(&console, read_console, NULL);
    while (ftrylockfile(stdin) == 0) { /* until it has it */
        funlockfile(stdin);
        sched_yield();
    }
    enum fp_status status = run(&visit);
    close(ends[1]);
    pthread_join(console, NULL);
    clearerr(stdin);
    dup2(saved, 0);
    close(saved);
    close(ends[0]);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    assert_string_equal(visit.heard, "hello\nhello\n");
}

static struct fp_server *freed_at_exit;

static void free_server(void)
{
    fp_server_free(freed_at_exit);
}

/* Files that get the numbers of the server's descriptors. exit(3) calls the function, then writes the buffers. */
static int record_and_exit(struct fp_connection *connection, void *path)
{
    (void)connection;
    for (int i = 0; i < 8; i++)
        fputs("record\n", fopen(path, "ae"));
    atexit(free_server);
    exit(0);
}

static void test_a_server_freed_by_a_handlers_process(void **state)
{
    struct visit visit = {.server = make(NULL), .clients = 1};
    char path[] = "/tmp/forkport.XXXXXX";
    char found[256] = "";
    int fd = mkstemp(path);

    (void)state;
    assert_true(fd >= 0);
    freed_at_exit = visit.server;
    fp_server_handler(visit.server, record_and_exit, path);
    enum fp_status status = run(&visit);
    fp_server_free(visit.server);
    ssize_t length = read(fd, found, sizeof(found));
    close(fd);
    unlink(path);
    assert_int_equal(status, FP_OK);
    assert_int_equal(length, 8 * strlen("record\n"));
}

static int run_own(struct fp_connection *connection, void *data)
{
    struct fp_server *own = fp_server_new(NULL);

    (void)connection;
    (void)data;
    fp_server_listen(own, "127.0.0.1:0", NULL);
    fp_server_handler(own, hello, NULL);
    fp_server_stop(own);
    if (fp_server_run(own, NULL) != FP_OK)
        return 1;
    fp_server_free(own);
    int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    int last = fd;
    while (last < 16)
        last = open("/dev/null", O_RDONLY | O_CLOEXEC);
    fp_server_free(freed_at_exit); /* after a run of its own, the numbers are still not this server's */
    for (; fd <= last && fcntl(fd, F_GETFD) >= 0; fd++)
        ;
    return puts(fd > last ? "all open" : "one was closed") < 0;
}

static void test_a_handler_that_has_run_a_server(void **state)
{
    struct visit visit = {.server = make(run_own), .clients = 1};

    (void)state;
    freed_at_exit = visit.server;
    assert_int_equal(run(&visit), FP_OK);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "all open\n");
}

static int run_the_programs(struct fp_connection *connection, void *other)
{
    struct fp_server *server = fp_connection_number(connection) % 2 == 0 ? other : freed_at_exit;
    struct fp_error err = {.status = FP_OK};
    int last = 0;

    while (last < 16)
        last = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (fp_server_open(server, NULL) != FP_USAGE || fp_server_run(server, &err) != FP_USAGE)
        return puts("it ran") < 0;
    for (int fd = 0; fd <= last; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            return puts("one was closed") < 0;
    }
    return puts(err.reason) < 0;
}

/* Neither the server that it is of, nor another one that was made before. */
static void test_a_handler_runs_no_server_of_the_program(void **state)
{
    struct visit visit = {.server = make(run_the_programs), .clients = 2};
    struct fp_server *other = make(hello);

    (void)state;
    freed_at_exit = visit.server;
    fp_server_handler(visit.server, run_the_programs, other);
    assert_int_equal(run(&visit), FP_OK);
    fp_server_free(visit.server);
    fp_server_free(other);
    assert_string_equal(visit.heard, "the server's descriptors are closed there\n"
                                     "the server's descriptors are closed there\n");
}

static int answers(const char *pair)
{
    struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    sa.sin_port = htons((uint16_t)atoi(strchr(pair, ':') + 1));
    int result = connect(fd, (struct sockaddr *)&sa, sizeof(sa));
    close(fd);
    return result;
}

static void test_a_log_that_cannot_be_opened(void **state)
{
    struct fp_server *server = make(hello);

    (void)state;
    assert_int_equal(fp_server_set(server, "log-file", "/nowhere/log", NULL), FP_OK);
    assert_int_equal(fp_server_open(server, NULL), FP_OK);
    assert_int_equal(answers(fp_server_pair(server, 0)), 0);
    assert_int_equal(fp_server_run(server, NULL), FP_NO_INPUT);
    assert_int_equal(answers(fp_server_pair(server, 0)), -1);
    fp_server_free(server);
}

static int hello_with_words(struct fp_connection *connection, void *data)
{
    /* A line that its end makes one. */
    return write(2, "last words", 10) < 0 || hello(connection, data) != 0;
}

/* As a function of the program's that waits for any child does it; what became of the worker is then not known. */
static void wait_for_all(const char *line, size_t length, void *said)
{
    (void)length;
    while (strstr(line, " start ") != NULL && waitpid(-1, NULL, __WALL) > 0)
        ;
    if (strstr(line, " waited for by somebody else") != NULL)
        ++*(int *)said;
    if (strstr(line, " last words") != NULL)
        *(int *)said += 10;
    if (strstr(line, " stop ") != NULL)
        assert_non_null(strstr(line, " served 2 refused 0 failed 0"));
}

static void test_a_program_that_waits_for_the_workers(void **state)
{
    struct visit visit = {.server = make(hello_with_words), .clients = 2};
    int said = 0;

    (void)state;
    /* Not only found out when all are sent a signal. */
    assert_int_equal(fp_server_set(visit.server, "drain", "3600", NULL), FP_OK);
    fp_server_log(visit.server, wait_for_all, &said);
    assert_int_equal(run(&visit), FP_OK);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "hello\nhello\n");
    assert_int_equal(said, 2 + 2 * 10);
}

static int hear_to_the_end(struct fp_connection *connection, void *data)
{
    (void)connection;
    (void)data;
    while (getchar() != EOF)
        ;
    return puts("heard") < 0;
}

static void wait_for_others(const char *line, size_t length, void *data)
{
    const char *pid = memmem(line, length, " pid ", strlen(" pid "));

    (void)data;
    if (pid != NULL && strstr(line, " start ") != NULL && strstr(line, " #1 ") == NULL)
        waitpid(atoi(pid + strlen(" pid ")), NULL, 0);
}

static void *hold_one(void *data)
{
    struct visit *visit = data;
    int held = connect_to(visit->server);

    run_clients(visit);
    close(held);
    return NULL;
}

/* While another worker lives: its slot is wanted by those that wait for one. */
static void test_a_program_that_waits_for_some_of_the_workers(void **state)
{
    struct visit visit = {.server = make(hear_to_the_end), .clients = 3};

    (void)state;
    assert_int_equal(fp_server_set(visit.server, "max", "2", NULL), FP_OK);
    fp_server_log(visit.server, wait_for_others, NULL);
    assert_int_equal(run_for(&visit, hold_one), FP_OK);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "heard\nheard\nheard\n");
}

/* What is opened next would have its number, and be written to. */
static void test_a_ready_descriptor_that_is_not_open(void **state)
{
    struct fp_server *server = make(hello);
    struct fp_error err;

    (void)state;
    assert_int_equal(fp_server_set(server, "ready-fd", "200", NULL), FP_OK);
    assert_int_equal(fp_server_open(server, &err), FP_USAGE);
    assert_string_equal(err.what, "descriptor 200 of --ready-fd");
    assert_int_equal(fp_server_run(server, &err), FP_USAGE);
    fp_server_free(server);
}

static void test_another_builtin_after_a_failure(void **state)
{
    struct visit visit = {.server = make(NULL), .clients = 1};

    (void)state;
    assert_int_equal(fp_server_set(visit.server, "builtin", "echo", NULL), FP_OK);
    assert_int_equal(fp_server_listen(visit.server, "192.0.2.1:0", NULL), FP_OK);
    assert_int_equal(fp_server_open(visit.server, NULL), FP_UNAVAILABLE);
    assert_int_equal(fp_server_set(visit.server, "builtin", "discard", NULL), FP_OK);
    assert_int_equal(fp_server_listen(visit.server, "127.0.0.1:0", NULL), FP_OK);
    visit.say = "not echoed";
    assert_int_equal(run(&visit), FP_OK);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "");
}

/* With no descriptor left. */
static void test_what_is_short_is_said(void **state)
{
    struct fp_server *server = make(hello);
    struct rlimit old;

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    enum fp_status found[] = {
        fp_server_set(server, "user", "daemon", NULL),
        fp_server_set(server, "user", "1", NULL),
        fp_server_set(server, "group", "daemon", NULL),
        fp_server_listen(server, "127.0.0.1:echo", NULL),
        fp_server_listen(server, "127.0.0.1%lo:0", NULL),
        fp_server_listen(server, "localhost:0", NULL),
        fp_server_open(server, NULL),
    };
    setrlimit(RLIMIT_NOFILE, &old);
    fp_server_free(server);
    for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
        assert_int_equal(found[i], FP_SYSTEM);
}

static int show_variable(struct fp_connection *connection, void *name)
{
    const char *value = getenv(name);

    (void)connection;
    return puts(value != NULL ? value : "none") < 0;
}

/* The text of a variable is the program's own, and it uses the memory for something else once the server runs. */
static void overwrite(const char *line, size_t length, void *text)
{
    (void)line;
    (void)length;
    strcpy(text, "FORKPORT_TEST=later");
}

static void test_the_environment_is_that_of_the_start(void **state)
{
    struct visit visit = {.server = make(NULL), .clients = 1};
    char text[] = "FORKPORT_TEST=start";
    char name[] = "FORKPORT_TEST";

    (void)state;
    assert_int_equal(putenv(text), 0);
    fp_server_handler(visit.server, show_variable, name);
    fp_server_log(visit.server, overwrite, text);
    enum fp_status status = run(&visit);
    unsetenv(name);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    assert_string_equal(visit.heard, "start\n");
}

static int look_at_stderr(struct fp_connection *connection, void *data)
{
    int type = 0;
    socklen_t length = sizeof(type);

    (void)connection;
    (void)data;
    return puts(getsockopt(2, SOL_SOCKET, SO_TYPE, &type, &length) == 0 ? "a socket" : "no socket") < 0;
}

static void test_a_standard_error_that_was_closed(void **state)
{
    struct visit visit = {.server = make(look_at_stderr), .clients = 1};
    int saved = fcntl(2, F_DUPFD_CLOEXEC, 10);

    (void)state;
    assert_int_equal(fp_server_set(visit.server, "stderr", "inherit", NULL), FP_OK);
    close(2);
    enum fp_status status = run(&visit);
    dup2(saved, 2);
    close(saved);
    fp_server_free(visit.server);
    assert_int_equal(status, FP_OK);
    assert_string_equal(visit.heard, "no socket\n");
}

static volatile sig_atomic_t ends_seen;

static void see_end(int number)
{
    (void)number;
    ends_seen++;
}

/* The library for the programs is looked for beside this one. */
static void link_library(void)
{
    char path[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - 1);

    assert_true(length > 0);
    path[length] = '\0';
    assert_non_null(strrchr(path, '/'));
    strcpy(strrchr(path, '/') + 1, "libforkport-preload.so");
    if (symlink("../../libforkport-preload.so", path) < 0)
        assert_int_equal(errno, EEXIST);
}

static void look_for_template(const char *line, size_t length, void *found)
{
    *(bool *)found |= memmem(line, length, " at its gate", strlen(" at its gate")) != NULL;
}

/* Templates and those that wait are ended with the server: the program is not told of them. */
static void test_the_ends_of_the_servers_children(void **state)
{
    static const char *const engines[] = {"exec", "fork", "pool"};
    struct sigaction old;
    struct sigaction handled = {.sa_handler = see_end};
    char *argv[] = {(char[]){"echo"}, (char[]){"hello"}, NULL};

    (void)state;
    link_library();
    sigaction(SIGCHLD, &handled, &old);
    for (size_t i = 0; i < sizeof(engines) / sizeof(engines[0]); i++) {
        struct visit visit = {.server = make(NULL), .clients = 200};
        bool has_template = false;
        fp_server_log(visit.server, look_for_template, &has_template);
        assert_int_equal(fp_server_set(visit.server, "engine", engines[i], NULL), FP_OK);
        assert_int_equal(fp_server_program(visit.server, argv, NULL), FP_OK);
        assert_int_equal(run(&visit), FP_OK);
        fp_server_free(visit.server);
        assert_int_equal(visit.length, 200 * strlen("hello\n"));
        assert_int_equal(has_template, i > 0);
        assert_int_equal(ends_seen, 0);
    }
    sigaction(SIGCHLD, &old, NULL);
}

/* 0: the line says of no template that it is at its gate. */
static pid_t template_at_gate(const char *line, size_t length)
{
    const char *gate = memmem(line, length, " at its gate", strlen(" at its gate"));
    const char *said = memmem(line, length, "template pid ", strlen("template pid "));

    return gate != NULL && said != NULL ? atoi(said + strlen("template pid ")) : 0;
}

/* Another hand that waits for children: the first template is gone, and its end is nobody's news. */
static void wait_for_template(const char *line, size_t length, void *data)
{
    struct visit *visit = data;
    pid_t pid = template_at_gate(line, length);

    if (pid == 0 || visit->say != NULL)
        return;
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    __atomic_store_n(&visit->say, "hello", __ATOMIC_RELEASE);
}

static void *run_clients_then(void *data)
{
    struct visit *visit = data;

    while (__atomic_load_n(&visit->say, __ATOMIC_ACQUIRE) == NULL)
        sched_yield();
    return run_clients(visit);
}

/* Orders that it will not answer are given to others, and its number is sent no signal, which may be anybody's by now. */
static void test_a_program_that_waits_for_a_template(void **state)
{
    struct visit visit = {.server = make(NULL), .clients = 3};
    char *argv[] = {(char[]){"cat"}, NULL};

    (void)state;
    link_library();
    fp_server_log(visit.server, wait_for_template, &visit);
    assert_int_equal(fp_server_set(visit.server, "engine", "fork", NULL), FP_OK);
    assert_int_equal(fp_server_program(visit.server, argv, NULL), FP_OK);
    assert_int_equal(run_for(&visit, run_clients_then), FP_OK);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "hellohellohello");
}

static void *take_end(void *data)
{
    sigset_t set;
    int number;

    (void)data;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigwait(&set, &number);
    return NULL;
}

static void take_end_of_template(const char *line, size_t length, void *data)
{
    struct visit *visit = data;
    pid_t pid = template_at_gate(line, length);
    pthread_t thread;

    if (pid == 0 || visit->say != NULL)
        return;
    start_thread(&thread, take_end, NULL);
    kill(pid, SIGKILL);
    pthread_join(thread, NULL);
    __atomic_store_n(&visit->say, "hello", __ATOMIC_RELEASE);
}

/* The template has the connection, which has no process then that could end and be announced. */
static void test_a_thread_that_takes_the_end_of_a_template(void **state)
{
    struct visit visit = {.server = make(NULL), .clients = 1};
    char *argv[] = {(char[]){"cat"}, NULL};

    (void)state;
    link_library();
    fp_server_log(visit.server, take_end_of_template, &visit);
    assert_int_equal(fp_server_set(visit.server, "engine", "fork", NULL), FP_OK);
    assert_int_equal(fp_server_program(visit.server, argv, NULL), FP_OK);
    assert_int_equal(run_for(&visit, run_clients_then), FP_OK);
    fp_server_free(visit.server);
    assert_string_equal(visit.heard, "hello");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_thread_that_reads_standard_input),
        cmocka_unit_test(test_a_server_freed_by_a_handlers_process),
        cmocka_unit_test(test_a_handler_that_has_run_a_server),
        cmocka_unit_test(test_a_handler_runs_no_server_of_the_program),
        cmocka_unit_test(test_a_log_that_cannot_be_opened),
        cmocka_unit_test(test_a_program_that_waits_for_the_workers),
        cmocka_unit_test(test_a_program_that_waits_for_some_of_the_workers),
        cmocka_unit_test(test_a_ready_descriptor_that_is_not_open),
        cmocka_unit_test(test_another_builtin_after_a_failure),
        cmocka_unit_test(test_what_is_short_is_said),
        cmocka_unit_test(test_the_environment_is_that_of_the_start),
        cmocka_unit_test(test_a_standard_error_that_was_closed),
        cmocka_unit_test(test_the_ends_of_the_servers_children),
        cmocka_unit_test(test_a_program_that_waits_for_a_template),
        cmocka_unit_test(test_a_thread_that_takes_the_end_of_a_template),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
