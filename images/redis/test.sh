# The queue's image: not root, asks for a password, and keeps what it acknowledged through a kill -9.
set -eu
[ "$(id -u)" = 10001 ]
for program in gcc git curl; do ! command -v $program || exit 1; done

echo "user default off
user worker on >secret ~* +@all" >/tmp/users
start() {
  redis-server --dir /data --appendonly yes --appendfsync always --aclfile /tmp/users >/tmp/log &
  server=$!
  for _ in $(seq 100); do redis-cli ping 2>/dev/null | grep -q NOAUTH && return; sleep 0.1; done
  cat /tmp/log; exit 1
}
ask() { REDISCLI_AUTH=secret redis-cli --user worker "$@"; }
start
[ "$(ask set job kept)" = OK ]
kill -9 $server; wait $server || true
start
[ "$(ask get job)" = kept ]
redis-cli get job 2>&1 | grep -q NOAUTH
kill $server
redis-server --version
