#!/usr/bin/env bash
# Prints what is in an image as an SPDX 2.3 document: crates by Cargo.lock, Debian packages by dpkg.
#   sbom.sh IMAGE "PROGRAMS" "DEBIAN_PACKAGES"
# Source of the fields: the SPDX specification, version 2.3.
set -euo pipefail

here=$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")
image=$1 programs=$2 packages=$3
cd "$here/../.."

crates=$(for program in $programs; do
    cargo tree --locked --package "$program" --edges normal,no-proc-macro --prefix none --format '{p}|{l}'
done | sed -E 's/ \(\*\)$//' | sort -u)

debian=$(for package in $packages; do
    dpkg-query --show --showformat '${Package}|${Version}|${Architecture}\n' "$package"
done | sort -u)

version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
content=$(printf '%s\n' "$image" "$version" "$crates" "$debian" | sha256sum | cut -c 1-32)

jq --null-input --arg image "$image" --arg version "$version" --arg content "$content" \
    --arg crates "$crates" --arg debian "$debian" '
def lines: split("\n") | map(select(. != ""));
def id: gsub("[^A-Za-z0-9.-]"; "-");
def package($kind; $name; $version; $licence; $purl):
    {
        SPDXID: "SPDXRef-\($kind)-\($name | id)-\($version | id)", name: $name, versionInfo: $version,
        downloadLocation: "NOASSERTION", filesAnalyzed: false,
        licenseConcluded: "NOASSERTION", licenseDeclared: $licence, copyrightText: "NOASSERTION",
        externalRefs: [{referenceCategory: "PACKAGE-MANAGER", referenceType: "purl", referenceLocator: $purl}]
    };
def crate:
    capture("^(?<name>[^ ]+) v(?<version>[^ |]+)( \\([^|]*\\))?\\|(?<licence>.*)$")
    | package("crate"; .name; .version; (.licence | gsub("/"; " OR ") | if . == "" then "NOASSERTION" else . end);
        "pkg:cargo/\(.name)@\(.version)");
def deb:
    split("|") | package("deb"; .[0]; .[1]; "NOASSERTION";
        "pkg:deb/debian/\(.[0])@\(.[1] | @uri)?arch=\(.[2])");
(($crates | lines | map(crate)) + ($debian | lines | map(deb)) | unique_by(.SPDXID)) as $contents
| {
    spdxVersion: "SPDX-2.3", dataLicense: "CC0-1.0", SPDXID: "SPDXRef-DOCUMENT",
    name: "\($image)-\($version)", documentNamespace: "https://postern.dev/spdx/\($image)-\($version)-\($content)",
    # The date of a release is the date of its commit; a list of the same contents is the same document.
    creationInfo: {created: "1970-01-01T00:00:00Z", creators: ["Tool: deploy/images/sbom.sh"]},
    packages: $contents,
    relationships: ($contents | map({
        spdxElementId: "SPDXRef-DOCUMENT", relationshipType: "DESCRIBES", relatedSpdxElement: .SPDXID
    }))
}'
