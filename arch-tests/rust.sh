# For the scripts beside this one: a standard library for a target that this machine is not, and packages.
#
#   get_packages NAME...          those of Debian's packages that are missing
#   get_rust TARGET [DEBIAN]      rustup's standard library for TARGET; where there is none (or MULTITASK_RUST=debian says so) a
#                                 second compiler, which Debian packages, unpacked into target/arch-tests and used through
#                                 cargo's variables. DEBIAN is Debian's name of the processor if Debian builds the library for
#                                 it; otherwise cargo builds it from its source.

get_packages() {
    local package missing=()
    for package in "$@"; do
        dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    apt update
    apt install --yes --no-install-recommends "${missing[@]}"
}

apt() {
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get "$@"
}

get_rust() {
    local target=$1 debian=${2-} root=$PWD/target/arch-tests/rust
    unset RUSTC RUSTDOC LD_LIBRARY_PATH CARGO_TARGET_DIR RUSTC_BOOTSTRAP CARGO_UNSTABLE_BUILD_STD
    if [[ ${MULTITASK_RUST-} != debian ]] && rustup target add "$target"; then
        return
    fi
    echo "== Debian's compiler, for want of rustup's standard library for $target"
    [[ -e $root/complete ]] || unpack_compiler "$root"
    [[ -z $debian || -e $root/complete-$debian ]] || unpack_library "$root" "$debian"
    export RUSTC=$root/usr/bin/rustc RUSTDOC=$root/usr/bin/rustdoc LD_LIBRARY_PATH=$root/usr/lib/x86_64-linux-gnu
    export CARGO_TARGET_DIR=$PWD/target/arch-tests/debian
    [[ -n $debian ]] || export RUSTC_BOOTSTRAP=1 CARGO_UNSTABLE_BUILD_STD=std,panic_unwind
}

unpack_compiler() {
    local root=$1 library llvm
    apt update
    library=$(needs_of libstd-rust-web-dev | grep -m1 '^libstd-rust-web-')
    llvm=$(needs_of "$library" | grep -m1 '^libllvm')
    mkdir -p "$root/host"
    (cd "$root/host" && apt download rustc-web libstd-rust-web-dev rust-web-src "$library" "$llvm")
    unpack "$root/host" "$root"
    touch "$root/complete"
}

# The packages that a package depends on.
needs_of() {
    apt-cache depends "$1" | sed -n 's/^ *Depends: //p'
}

# Asked for as that processor's own machine would ask, with lists apart from this machine's.
unpack_library() {
    local root=$1 debian=$2
    local lists=$root/lists-$debian debs=$root/$debian
    local as_there=(-o "APT::Architecture=$debian" -o "APT::Architectures=$debian" -o "Dir::State::Lists=$lists")
    mkdir -p "$lists/partial" "$debs"
    apt "${as_there[@]}" update
    (cd "$debs" && apt "${as_there[@]}" download libstd-rust-web-dev)
    unpack "$debs" "$root"
    touch "$root/complete-$debian"
}

unpack() {
    local deb
    for deb in "$1"/*.deb; do
        dpkg -x "$deb" "$2"
    done
}
