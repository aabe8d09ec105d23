#!/bin/sh
# guestbook.sh - a service that talks, in shell: standard input and output are the client, a process for each.
#
#     forkport serve 127.0.0.1:2121 --max-per-source 5 -- ./guestbook.sh /var/tmp/guestbook
#
# Its standard error goes to the log of the server, with the connection's number before each line.
book=${1:?usage: guestbook.sh FILE}

printf 'Welcome, %s. This is visit %s. Your name?\n' "$TCPREMOTEIP" "$FORKPORT_CONNECTION"
read -r name || exit 1
# One short write to a file opened for appending is one line, however many write at once.
printf '%s from %s\n' "$name" "$TCPREMOTEIP" >>"$book" || exit 1
echo "signed: $name" >&2
printf 'Thank you. So far:\n'
cat "$book"
