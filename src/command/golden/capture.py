#!/usr/bin/env python3
"""Writes the replies of a redis-server into the transcripts beside this file.

    capture.py PORT FILE...

A line is a request, a tab, and its raw reply with | for CR LF. `@resp N` changes the protocol, `#`
begins a comment. Requests are taken from the files, replies are written anew. The server's
database 0 is emptied.
"""

import re
import socket
import sys


def words(line):
    """Words in redis-cli's quoting, of plain words and double quotes with \\xNN, \\n, \\r, \\\\."""
    out = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', line):
        if plain:
            out.append(plain.encode())
        else:
            out.append(quoted.encode().decode("unicode_escape").encode("latin-1"))
    return out


class Client:
    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.file = self.socket.makefile("rb")

    def call(self, words):
        out = b"*%d\r\n" % len(words)
        for word in words:
            out += b"$%d\r\n%s\r\n" % (len(word), word)
        self.socket.sendall(out)
        return self.reply()

    def reply(self):
        line = self.file.readline()
        kind, rest = line[:1], line[1:]
        if kind == b"$" and int(rest) >= 0:
            return line + self.file.read(int(rest) + 2)
        if kind in b"*~%" and int(rest) > 0:
            count = int(rest) * (2 if kind == b"%" else 1)
            return line + b"".join(self.reply() for _ in range(count))
        return line


def main():
    for path in sys.argv[2:]:
        client = Client(int(sys.argv[1]))
        client.call([b"FLUSHDB"])
        out = []
        for line in open(path).read().splitlines():
            request = line.split("\t")[0]
            if request.startswith("@resp "):
                client.call([b"HELLO", request[6:].encode()])
            elif request and not request.startswith("#"):
                reply = client.call(words(request)).decode()
                line = f"{request}\t{reply.replace(chr(13) + chr(10), '|')}"
            out.append(line)
        open(path, "w").write("\n".join(out) + "\n")


main()
