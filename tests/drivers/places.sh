# Sourced by `prepare` and `run`: where things are.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# What `scripts/need drivers` fetches and `prepare` builds.
built=$(cd "$here/../.." && pwd)/target/drivers
unit=${1:?a unit, as python/pymysql_driver}
folder=$here/${unit%%/*}
name=${unit##*/}
# Debian's own, since the packages python3-mysqldb and the wheels of requirements.txt are for it.
python=/usr/bin/python3
jars=$built/java/jars
