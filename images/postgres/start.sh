#!/bin/sh
# A database directory at the first start, with the password from the secret; then the server.
set -eu

if [ ! -s /data/cluster/PG_VERSION ]; then
  rm -rf /data/cluster.new
  initdb --pgdata /data/cluster.new --username mlflow --pwfile /run/secrets/database_password \
    --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 >/dev/null
  echo "host all all all scram-sha-256" >>/data/cluster.new/pg_hba.conf
  # a cluster is there whole or not at all
  mv /data/cluster.new /data/cluster
fi
# the password of the secret, also after that was changed (make rotate)
new=$(sha256sum </run/secrets/database_password)
if [ "$(cat /data/password.sha256 2>/dev/null)" != "$new" ]; then
  printf "ALTER ROLE mlflow PASSWORD '%s';\n" "$(cat /run/secrets/database_password)" \
    | postgres --single -D /data/cluster postgres >/dev/null
  echo "$new" >/data/password.sha256
fi
exec postgres -D /data/cluster -c listen_addresses='*' -c unix_socket_directories=/tmp
