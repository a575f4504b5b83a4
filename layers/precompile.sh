#!/bin/sh
# Compile a layer ahead, as /opt is read-only in Lambda and every cold start would compile it again.
#
#   precompile.sh DIRECTORY [PART]      PART is a directory in it, `python` if left out
#
# Only by the Python that the layer is for (LAYER_PYTHON: a version, or an interpreter), if it is at hand: another's
# bytecode would only be ballast. Unchecked, and with Lambda's paths: the same sources give the same bytes.
set -eu
layer=$1 part=${2:-python}
wanted=${LAYER_PYTHON:-3.13}
for interpreter in "$wanted" "python$wanted" python3; do
	version=$("$interpreter" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
	[ "$interpreter" = "$wanted" ] || [ "$version" = "$wanted" ] || continue
	exec "$interpreter" -m compileall -q -j 0 --invalidation-mode unchecked-hash -s "$layer" -p /opt "$layer/$part"
done
echo "note: no Python $wanted here: the layer is not compiled ahead" >&2
