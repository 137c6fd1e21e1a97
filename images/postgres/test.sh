# The database's image: not root, a cluster made once, the password of the secret and no other.
set -eu
[ "$(id -u)" = 10001 ]
for program in gcc git curl; do ! command -v $program || exit 1; done

printf secret >/run/secrets/database_password
start() {
  /start.sh >/tmp/log 2>&1 &
  server=$!
  for _ in $(seq 150); do pg_isready --quiet --host 127.0.0.1 && return; sleep 0.2; done
  cat /tmp/log; exit 1
}
# through the network address: on loopback initdb's own rules come first
ask() { PGPASSWORD=$1 psql --host 127.0.0.1 --username mlflow --tuples-only --no-align --command "$2" postgres; }
start
ask secret "create table kept (number int); insert into kept values (7)"
! ask wrong "select 1" 2>/dev/null || exit 1
! ask '' "select 1" 2>/dev/null || exit 1
kill -9 $server; wait $server || true
rm -f /data/cluster/postmaster.pid
start
[ "$(ask secret 'select number from kept')" = 7 ]
kill -INT $server
postgres --version
