/* SPDX-License-Identifier: MIT */
#include "world.h"

#include "sys/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int home = -1;
static int client_host = -1;
static bool has_users;

void die(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    vprintf(format, ap);
    va_end(ap);
    printf(": %s\n", strerror(errno));
    exit(EXIT_FAILURE);
}

/* SplitMix64: any seed will do. */
uint32_t random_below(struct random *random, uint32_t below)
{
    uint64_t z = (random->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    z ^= z >> 31;
    return (uint32_t)((z >> 32) * below >> 32);
}

bool random_percent(struct random *random, uint32_t percent)
{
    return random_below(random, 100) < percent;
}

static void join(int namespace)
{
    if (setns(namespace, CLONE_NEWNET) < 0)
        die("setns");
}

static void run(const char *command)
{
    if (system(command) != 0)
        die("%s", command);
}

/* The addresses of either host are reached by both wires, so that the wire is the client's to choose. */
static const char server_commands[] =
    "set -e; sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0\n"
    "ip link set lo up\n"
    "for i in 0 1; do\n"
    "  ip link add wire$i type veth peer name wire$i netns $CLIENT\n"
    "  ip addr add 10.0.$i.1/24 dev wire$i; ip -6 addr add fd00:$i::1/64 dev wire$i nodad\n"
    "  ip link set wire$i up\n"
    "  sysctl -qw net.ipv4.conf.wire$i.rp_filter=0\n"
    "done\n"
    "sysctl -qw net.ipv4.conf.all.rp_filter=0\n"
    "ip addr add 10.0.0.2/24 dev wire0; ip addr add 10.0.1.3/24 dev wire1\n";
static const char client_commands[] =
    "set -e; sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0\n"
    "ip link set lo up\n"
    "for i in 0 1; do\n"
    "  ip link set wire$i up\n"
    "  ip addr add 10.0.$i.9/24 dev wire$i; ip -6 addr add fd00:$i::9/64 dev wire$i nodad\n"
    "  ip route add 10.0.0.0/16 dev wire$i metric $((100 + i))\n"
    "  ip -6 route add fd00::/16 via fd00:$i::1 dev wire$i metric $((100 + i))\n"
    "  sysctl -qw net.ipv4.conf.wire$i.rp_filter=0\n"
    "done\n"
    "sysctl -qw net.ipv4.conf.all.rp_filter=0\n"
    "ip route add 10.0.1.3 dev wire0 src 10.0.1.9\n";

static void write_file(const char *path, const char *content)
{
    FILE *file = fopen(path, "we");

    if (file == NULL || fputs(content, file) < 0 || fclose(file) != 0)
        die("write %s", path);
}

static void map_to_root(const char *path, unsigned id)
{
    char map[32];

    snprintf(map, sizeof(map), "0 %u 1", id);
    write_file(path, map);
}

/* Root of a user namespace: one without root in it would lose its privileges to ip(8) with each execve(2). */
static bool become_root(void)
{
    unsigned user = geteuid();
    unsigned group = getegid();

    has_users = user == 0;
    if (has_users)
        return true;
    if (unshare(CLONE_NEWUSER) < 0)
        return false;
    write_file("/proc/self/setgroups", "deny");
    map_to_root("/proc/self/uid_map", user);
    map_to_root("/proc/self/gid_map", group);
    return true;
}

bool world_has_users(void)
{
    return has_users;
}

static int open_own(void)
{
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        die("open /proc/thread-self/ns/net");
    return fd;
}

const char *world_make(void)
{
    char number[16];
    char byte;
    int gate[2];

    if (system("command -v ip >/dev/null && command -v sysctl >/dev/null") != 0)
        return "there is no program ip or sysctl";
    if (!become_root() || unshare(CLONE_NEWNET) < 0)
        return "the kernel gives no network namespace";
    client_host = open_own();
    if (pipe2(gate, O_CLOEXEC) < 0)
        die("pipe2");
    /* ip(8) takes a namespace by a process: this one stays on the clients' host while the wires are made. */
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        close(gate[1]);
        _exit(read(gate[0], &byte, 1) < 0);
    }
    if (child < 0 || unshare(CLONE_NEWNET) < 0)
        die("make a host");
    home = open_own();
    snprintf(number, sizeof(number), "%d", (int)child);
    setenv("CLIENT", number, 1);
    run(server_commands);
    join(client_host);
    run(client_commands);
    join(home);
    close(gate[0]);
    close(gate[1]);
    waitpid(child, NULL, 0);
    return NULL;
}

int world_client_socket(int family, unsigned wire)
{
    char device[IFNAMSIZ] = "";

    join(client_host);
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (wire != WORLD_ANY_WIRE)
        snprintf(device, sizeof(device), "wire%u", wire);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, device, (socklen_t)strlen(device)) < 0)
        die("make a client's socket on %s", device);
    join(home);
    return fd;
}

uint32_t world_device(const char *name)
{
    return if_nametoindex(name);
}
