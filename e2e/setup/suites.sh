#!/usr/bin/env bash
# Runs the named parts of `make test`, each to its end, and closes with one line that counts them
# all. A failed lint counts as one failed case, so that a broken rule never hides the tests.
#   suites.sh lint unit netns
set -euo pipefail

MAKE=${MAKE:-make}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT

passed=0
failed=0
summary=()

# Adds up cargo's `test result:` lines of one log.
count() {
    awk -v field="$2" '/^test result:/ {
        for (i = 2; i <= NF; i++) if ($i == field ";") sum += $(i - 1)
    } END { print sum + 0 }' "$1"
}

for suite in "$@"; do
    printf '== %s\n' "$suite"
    begun=$SECONDS
    status=0
    "$MAKE" --no-print-directory --keep-going "$suite" </dev/null 2>&1 | tee "$logs/$suite" || status=$?
    good=$(count "$logs/$suite" passed)
    bad=$(count "$logs/$suite" failed)
    # What fails without a failed case: a lint, a compiler error, a missing program.
    if [[ $status -ne 0 && $bad -eq 0 ]]; then
        bad=1
    elif [[ $good -eq 0 && $status -eq 0 ]]; then
        good=1
    fi
    passed=$((passed + good))
    failed=$((failed + bad))
    summary+=("$suite: $good passed, $bad failed, $((SECONDS - begun)) s")
done

printf '\n'
grep -h '^not run: ' "$logs"/* || true
printf 'allow list:\n'
sed -n '/^[a-z]/s/^/  /p' "$(dirname "${BASH_SOURCE[0]}")/../allow-list.txt"
printf '%s\n' "${summary[@]}"
printf '%s passed, %s failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
