#!/bin/bash
# Make the own Python environment of one real engine, with a tiny model in it, or of one gateway.
# usage: tests/engines/setup.sh vllm|sglang|llamacpp|litellm|kserve|ray [DIR]      (DIR: .parts/engines/ENGINE)
#
# Does nothing if DIR is complete. A stamp, written last, holds the checksum of all that went in,
# so that half an install, or one from older pins, is made anew.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
engine=${1:-}
case $engine in
  vllm | sglang | llamacpp | litellm | kserve | ray) ;;
  *) sed -n '2,3s/^# //p' "$0" >&2; exit 2 ;;
esac
dir=${2:-$root/.parts/engines/$engine}
stamp=$dir/.complete
sum=$(cat "$here/$engine.txt" "$here"/{setup.sh,make_model.py,name_vllm.py,stub_sglang.py} | cksum)

if [ "$(cat "$stamp" 2>/dev/null)" = "$sum" ]; then
  echo "$engine: complete in $dir"
  exit 0
fi
rm -rf "$stamp" "$dir/models"

python=${PYTHON:-$(command -v python3.11 || true)}
[ -n "$python" ] || { echo "$engine: its pinned wheels are for Python 3.11; none was found" >&2; exit 1; }
echo "$engine: making $dir with $python (vllm, sglang: 2.5 GB and two minutes; others: below 0.6 GB, seconds)"
"$python" -m venv "$dir"
"$dir/bin/python" -m pip --quiet --disable-pip-version-check install --no-deps -r "$here/$engine.txt"
case $engine in
  vllm)
    "$dir/bin/python" "$here/name_vllm.py"
    "$dir/bin/python" "$here/make_model.py" folder "$dir/models/tiny" tiny ;;
  sglang)
    site=$("$dir/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    cp "$here/stub_sglang.py" "$site"
    echo "import stub_sglang" > "$site/stub_sglang.pth"
    "$dir/bin/python" "$here/make_model.py" folder "$dir/models/tiny" tiny ;;
  llamacpp)
    "$dir/bin/python" "$here/make_model.py" file "$dir/models/tiny.gguf" tiny ;;
esac
echo "$sum" > "$stamp"
echo "$engine: complete in $dir"
