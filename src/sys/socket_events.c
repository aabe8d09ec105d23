/* SPDX-License-Identifier: MIT */
#include "sys/socket_events.h"

#include "sys/bpf.h"
#include "sys/fd.h"
#include "sys/socket_program.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Some 30,000 events: a fifth of a second of 20,000 connections a second, both ends here. */
#define RING_BYTES (4U << 20)
/* Of which the last process is remembered; it is told of once more where a socket was forgotten. */
#define SOCKETS_REMEMBERED 65536

_Static_assert(sizeof(struct socket_event) == 88, "no holes: the program writes it member by member");

static int make_map(enum bpf_map_type type, uint32_t key_size, uint32_t value_size, uint32_t entries)
{
    union bpf_attr attributes;

    bpf_clear(&attributes);
    attributes.map_type = type;
    attributes.key_size = key_size;
    attributes.value_size = value_size;
    attributes.max_entries = entries;
    strncpy(attributes.map_name, "forkport_live", sizeof(attributes.map_name) - 1);
    return bpf_call(BPF_MAP_CREATE, &attributes);
}

/* The first page is the consumer's, to write; then the producer's, and the data, twice, so that no record is cut. */
static int map_ring(struct socket_events *events)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    void *consumer = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, events->fd, 0);
    if (consumer == MAP_FAILED)
        return -1;
    events->consumer = consumer;
    void *producer =
        mmap(NULL, page + 2 * (size_t)RING_BYTES, PROT_READ, MAP_SHARED, events->fd, (off_t)page);
    if (producer == MAP_FAILED)
        return -1;
    events->producer = producer;
    return 0;
}

static int open_all(struct socket_events *events)
{
    if (!bpf_shares_pids()) {
        errno = ENOTSUP;
        return -1;
    }
    events->fd = make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, RING_BYTES);
    if (events->fd < 0)
        return -1;
    events->lost_fd = make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 1);
    FD_AUTO last_fd = make_map(BPF_MAP_TYPE_LRU_HASH, 8, 8, SOCKETS_REMEMBERED);
    if (events->lost_fd < 0 || last_fd < 0 || map_ring(events) < 0)
        return -1;
    struct socket_program_maps maps = {events->fd, events->lost_fd, last_fd};
    return socket_program_attach(&maps, events->attached);
}

int socket_events_open(struct socket_events *events)
{
    *events = (struct socket_events){.fd = -1, .lost_fd = -1};
    for (int i = 0; i < SOCKET_EVENTS_PROGRAMS; i++)
        events->attached[i] = -1;
    if (open_all(events) == 0)
        return 0;
    int errnum = errno;
    socket_events_close(events);
    errno = errnum;
    return -1;
}

bool socket_events_next(struct socket_events *events, struct socket_event *ret_event)
{
    unsigned long *consumed = events->consumer;
    const unsigned long *produced = events->producer;
    const char *data = (const char *)events->producer + sysconf(_SC_PAGESIZE);

    while (*consumed < __atomic_load_n(produced, __ATOMIC_ACQUIRE)) {
        const char *record = data + (*consumed & (RING_BYTES - 1));
        uint32_t head = __atomic_load_n((const uint32_t *)(const void *)record, __ATOMIC_ACQUIRE);
        if ((head & BPF_RINGBUF_BUSY_BIT) != 0)
            return false;
        uint32_t length = head & ~(uint32_t)BPF_RINGBUF_DISCARD_BIT;
        bool whole = length == head && length == sizeof(*ret_event);
        if (whole)
            memcpy(ret_event, record + BPF_RINGBUF_HDR_SZ, sizeof(*ret_event));
        __atomic_store_n(consumed, *consumed + ((length + BPF_RINGBUF_HDR_SZ + 7) & ~7UL), __ATOMIC_RELEASE);
        if (whole)
            return true;
    }
    return false;
}

uint64_t socket_events_lost(const struct socket_events *events)
{
    uint64_t lost = 0;
    uint32_t key = 0;
    union bpf_attr attributes;

    bpf_clear(&attributes);
    attributes.map_fd = (uint32_t)events->lost_fd;
    attributes.key = (uintptr_t)&key;
    attributes.value = (uintptr_t)&lost;
    bpf_call(BPF_MAP_LOOKUP_ELEM, &attributes);
    return lost;
}

void socket_events_close(struct socket_events *events)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (int i = 0; i < SOCKET_EVENTS_PROGRAMS; i++) {
        fd_close(events->attached[i]);
        events->attached[i] = -1;
    }
    if (events->producer != NULL)
        munmap(events->producer, page + 2 * (size_t)RING_BYTES);
    if (events->consumer != NULL)
        munmap(events->consumer, page);
    fd_close(events->fd);
    fd_close(events->lost_fd);
    events->fd = events->lost_fd = -1;
    events->producer = events->consumer = NULL;
}
