/* SPDX-License-Identifier: MIT */
#include "sys/resolve.h"

#include <netdb.h>
#include <netinet/in.h>
#include <string.h>

static bool same_host(const struct sockaddr *a, const struct sockaddr *b)
{
    if (a->sa_family != b->sa_family)
        return false;
    if (a->sa_family == AF_INET)
        return memcmp(&((const struct sockaddr_in *)a)->sin_addr, &((const struct sockaddr_in *)b)->sin_addr,
                      sizeof(struct in_addr)) == 0;
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

static bool leads_back(const char *name, const struct sockaddr *address)
{
    struct addrinfo hints = {.ai_family = address->sa_family, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list;
    bool found = false;

    if (getaddrinfo(name, NULL, &hints, &list) != 0)
        return false;
    for (struct addrinfo *at = list; at != NULL && !found; at = at->ai_next)
        found = same_host(at->ai_addr, address);
    freeaddrinfo(list);
    return found;
}

bool resolve_name(const struct sockaddr *address, socklen_t length, char ret_name[RESOLVE_NAME_SIZE])
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    char name[RESOLVE_NAME_SIZE];

    if (getnameinfo(address, length, name, sizeof(name), NULL, 0, NI_NAMEREQD) != 0)
        return false;
    if (name[0] == '\0' || name[strspn(name, allowed)] != '\0' || !leads_back(name, address))
        return false;
    memcpy(ret_name, name, strlen(name) + 1);
    return true;
}
