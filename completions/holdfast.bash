# SPDX-License-Identifier: MIT
# bash completion for holdfast
_holdfast() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD-1]} command=${COMP_WORDS[1]}
    local commands="create put get ls rm import export stat fsck grow shrink trim compact readers log archive restore snapshot verify dump load salvage"
    local options=""
    COMPREPLY=()
    if [ "${COMP_WORDS[0]##*/}" = fsck.holdfast ]; then
        command=fsck
    elif [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "$commands help --help --version" -- "$current"))
        return
    fi
    # A letter means something else in another command.
    case $command:$previous in
    *:--engine) COMPREPLY=($(compgen -W "log direct" -- "$current")); return ;;
    *:--allocator | create:-a | load:-a) COMPREPLY=($(compgen -W "default best_fit seq_fit slab" -- "$current")); return ;;
    *:--index | create:-i | load:-i) COMPREPLY=($(compgen -W "set hash flat null" -- "$current")); return ;;
    *:--method | snapshot:-m) COMPREPLY=($(compgen -W "clone range copy" -- "$current")); return ;;
    *:--existing | load:-e) COMPREPLY=($(compgen -W "error keep replace" -- "$current")); return ;;
    *:--wait | *:-w) COMPREPLY=($(compgen -W "0 10 forever" -- "$current")); return ;;
    esac
    case $command in
    create) options="--size --max-size --engine --allocator --index --layout --layout-version --mode --json --quiet --help" ;;
    put) options="--value --program --no-replace --force --create --wait --json --quiet --help" ;;
    get) options="--output --wait --json --quiet --help" ;;
    ls) options="--long --unique --null --wait --json --quiet --help" ;;
    rm) options="--prefix --force --wait --json --quiet --help" ;;
    import) options="--prefix --batch --replace --force --create --keep-going --wait --json --quiet --help" ;;
    export) options="--prefix --force --all --wait --json --quiet --help" ;;
    stat) options="--brief --wait --json --quiet --help" ;;
    fsck) options="--repair --no-repair --progress --no-progress --findings-max --leaks --leaks-fail --no-pointers --json --quiet --help" ;;
    grow) options="--json --quiet --help" ;;
    shrink) options="--json --quiet --help" ;;
    trim) options="--dry-run --wait --json --quiet --help" ;;
    compact) options="--dry-run --drop-unreachable --json --quiet --help" ;;
    readers) options="--wait --json --quiet --help" ;;
    log) options="--verbose --json --quiet --help" ;;
    archive) options="--output --since --since-archive --level --threads --wait --json --quiet --help" ;;
    restore) options="--verify --mode --json --quiet --help" ;;
    snapshot) options="--method --replace --verify --no-verify --accept-rot --wait --json --quiet --help" ;;
    verify) options="--wait --json --quiet --help" ;;
    dump) options="--prefix --pretty --no-bytes --wait --json --quiet --help" ;;
    load) options="--engine --allocator --index --max-size --into --existing --batch --wait --json --quiet --help" ;;
    salvage) options="--dry-run --unproved --all --salt --json --quiet --help" ;;
    help) COMPREPLY=($(compgen -W "$commands" -- "$current")); return ;;
    esac
    case $current in
    -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
    *) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    esac
}
complete -F _holdfast holdfast fsck.holdfast
