/* SPDX-License-Identifier: MIT */
#include "addr/resolve.h"

#include "addr/notation.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

/* Far more than a server listens on; it bounds the search for duplicates. */
#define LIST_MAX 1024

static enum fp_status list_add(struct address_list *list, const struct address *address, struct fp_error *err)
{
    struct address *items = reallocarray(list->items, list->count + 1, sizeof(*items));

    if (items == NULL)
        return error_set(err, FP_SYSTEM, errno, "keep a list of", "%zu addresses", list->count + 1);
    items[list->count] = *address;
    list->items = items;
    list->count++;
    return FP_OK;
}

static const struct address *list_find(const struct address_list *list, const struct address *address)
{
    for (size_t i = 0; i < list->count; i++) {
        if (address_equal(&list->items[i], address))
            return &list->items[i];
    }
    return NULL;
}

static enum fp_status check_usable(const struct notation *notation, const struct address *address,
                                   struct fp_error *err)
{
    const char *start = notation->item.start;

    if (address->device[0] != '\0' && if_nametoindex(address->device) == 0)
        return notation_fail_device(notation, start, address->device, err);
    if (address_needs_scope(address) && address->scope == 0 && address->device[0] == '\0') {
        char host[ADDRESS_TEXT_SIZE];
        struct text text;
        text_init(&text, host, sizeof(host));
        address_format_host(address, &text);
        text_end(&text);
        notation_fail(notation, start, err, "%s is on every link, so it needs the scope of one", host);
        error_hint(err, "write [%s%%eth0]:%u, with its device for eth0", host, address->port);
        return FP_DATA;
    }
    return FP_OK;
}

/* A failure of the resolver, other than those of the system it runs on, leaves the host unknown. */
static enum fp_status fail_look_up(const char *name, int code, struct fp_error *err)
{
    if (code == EAI_SYSTEM || error_is_shortage(errno))
        return error_set(err, error_class(errno), errno, "look up", "%s", name);
    enum fp_status status = code == EAI_MEMORY ? FP_SYSTEM : FP_NO_HOST;
    return error_reason(err, error_set(err, status, 0, "look up", "%s", name), "%s", gai_strerror(code));
}

/* All addresses of the name, each once, in the resolver's order; `model` gives the port and the device. */
static enum fp_status look_up(const struct notation *notation, struct span host, const struct address *model,
                              struct address_list *list, struct fp_error *err)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_protocol = IPPROTO_TCP};
    struct addrinfo *found = NULL;
    char name[NI_MAXHOST];

    span_copy(host, name, sizeof(name));
    errno = 0;
    int code = getaddrinfo(name, NULL, &hints, &found);
    if (code != 0)
        return fail_look_up(name, code, err);
    enum fp_status status = FP_OK;
    for (const struct addrinfo *at = found; at != NULL && status == FP_OK; at = at->ai_next) {
        struct address address;
        address_from_sockaddr(at->ai_addr, &address);
        address.port = model->port;
        memcpy(address.device, model->device, sizeof(address.device));
        if (list_find(list, &address) != NULL)
            continue;
        status = check_usable(notation, &address, err);
        if (status == FP_OK)
            status = list_add(list, &address, err);
    }
    freeaddrinfo(found);
    return status;
}

/* The addresses of one item, whose parts are known, into an empty list. */
static enum fp_status resolve_item(const struct notation *notation, const struct notation_parts *parts,
                                   struct address_list *list, struct fp_error *err)
{
    struct address address = {.family = AF_UNSPEC};
    bool is_name = false;
    struct fp_error not_numeric; /* which a name is not, and no failure */

    enum fp_status status = notation_address(notation, &address, &is_name, &not_numeric);
    if (status == FP_OK) {
        status = check_usable(notation, &address, err);
        return status == FP_OK ? list_add(list, &address, err) : status;
    }
    if (!is_name && err != NULL)
        *err = not_numeric;
    if (!is_name)
        return status;
    status = notation_port(notation, parts->port, &address.port, err);
    if (status != FP_OK)
        return status;
    span_copy(parts->device, address.device, sizeof(address.device));
    return look_up(notation, parts->host, &address, list, err);
}

static enum fp_status append_item(const struct notation *notation, struct address_list *list,
                                  struct fp_error *err)
{
    struct address_list found = {.count = 0};
    struct notation_parts parts;

    enum fp_status status = notation_split(notation, &parts, err);
    if (status == FP_OK && parts.port.length == 1 && parts.port.start[0] == '*') {
        status = notation_fail(notation, parts.port.start, err, "one port is expected, not every one");
        error_hint(err, "port 0 takes a free one");
    }
    if (status == FP_OK)
        status = resolve_item(notation, &parts, &found, err);
    for (size_t i = 0; i < found.count && status == FP_OK; i++) {
        if (address_is_multicast(&found.items[i]))
            status = notation_fail(notation, notation->item.start, err, "a multicast address has no TCP");
        else if (address_is_broadcast(&found.items[i]))
            status = notation_fail(notation, notation->item.start, err, "a broadcast address has no TCP");
        else if (found.items[i].port != 0 && list_find(list, &found.items[i]) != NULL)
            status = notation_fail(notation, notation->item.start, err, "it is in the list already");
        else if (list->count == LIST_MAX)
            status = notation_fail(notation, notation->item.start, err, "there are more than %d", LIST_MAX);
        else
            status = list_add(list, &found.items[i], err);
    }
    address_list_done(&found);
    return status;
}

enum fp_status address_list_parse(const char *string, struct address_list *ret_list, struct fp_error *err)
{
    struct notation notation = notation_whole(string);
    struct address_list list = {.count = 0};
    enum fp_status status;

    for (const char *at = string;;) {
        notation.item = (struct span){.start = at, .length = strcspn(at, ",")};
        status = append_item(&notation, &list, err);
        at += notation.item.length;
        if (status != FP_OK || *at == '\0')
            break;
        at++;
    }
    if (status != FP_OK) {
        address_list_done(&list);
        return status;
    }
    *ret_list = list;
    return FP_OK;
}

enum fp_status address_list_resolve(const char *string, struct address_list *ret_list, struct fp_error *err)
{
    struct notation notation = notation_whole(string);
    struct address_list list = {.count = 0};
    struct notation_parts parts;

    if (strchr(string, ',') != NULL)
        return notation_fail(&notation, strchr(string, ','), err, "expected one address, not a list");
    enum fp_status status = notation_split(&notation, &parts, err);
    if (status == FP_OK)
        status = resolve_item(&notation, &parts, &list, err);
    if (status == FP_OK && list.items[0].port == 0)
        status = notation_fail(&notation, parts.port.start, err, "expected the port of a server");
    if (status == FP_OK && address_is_wildcard(&list.items[0])) {
        status = notation_fail(&notation, string, err, "expected the host of a server");
        error_hint(err, "write localhost:%u for this host", list.items[0].port);
    }
    if (status != FP_OK) {
        address_list_done(&list);
        return status;
    }
    *ret_list = list;
    return FP_OK;
}

void address_list_done(struct address_list *list)
{
    free(list->items);
    *list = (struct address_list){.count = 0};
}
