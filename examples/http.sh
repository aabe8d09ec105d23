#!/bin/sh
# http.sh - a page that says how the host is, for a browser or curl, in shell.
#
#     forkport serve 127.0.0.1:8080 -- ./http.sh
#     curl http://127.0.0.1:8080/
read -r method target version || exit 1
while read -r header && [ "$header" != "$(printf '\r')" ] && [ -n "$header" ]; do :; done

case "$method $target" in
'GET /') status='200 OK' body=$(uptime; echo; df -h /) ;;
'GET '*) status='404 Not Found' body='There is only one page.' ;;
*) status='405 Method Not Allowed' body='GET is understood.' ;;
esac
printf 'HTTP/1.0 %s\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n%s\n' "$status" "$body"
