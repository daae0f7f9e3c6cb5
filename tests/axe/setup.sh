#!/bin/bash
# Install axe-core, with which tests/test_accessibility.py looks at the live page.
# usage: tests/axe/setup.sh [DIR]      (DIR: .parts/axe)
#
# Does nothing if DIR has this version. What is installed is held to the sum below.
set -euo pipefail
version=4.14.1
sum=29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
dir=${1:-$root/.parts/axe}
file=$dir/node_modules/axe-core/axe.min.js

is_complete() { [ -f "$file" ] && echo "$sum  $file" | sha256sum --check --quiet; }

if is_complete 2>/dev/null; then
  echo "axe-core: complete in $dir"
  exit 0
fi
command -v npm >/dev/null || { echo "axe-core: npm is not on this machine; install the package npm" >&2; exit 1; }
rm -rf "$dir"
mkdir -p "$dir"
npm install --silent --no-audit --no-fund --ignore-scripts --no-package-lock --prefix "$dir" "axe-core@$version"
is_complete
echo "axe-core: complete in $dir"
