# Makes the database on the first start of an allocation, then becomes the server.
set -e
PATH=$(echo /usr/lib/postgresql/*/bin):$PATH
[ -s /tmp/data/PG_VERSION ] || initdb --no-sync --auth trust -D /tmp/data
exec postgres -D /tmp/data -p "$PORT" -k /tmp -c listen_addresses=127.0.0.1 -c shared_buffers=32MB
