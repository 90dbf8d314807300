"""The scripts of `ocicat completion`: each passes the words to `ocicat __complete` and the answer to the shell."""

from __future__ import annotations

BASH = r"""# bash completion for ocicat: eval "$(ocicat completion bash)", or save it as
# ~/.local/share/bash-completion/completions/ocicat

_ocicat() {
    # bash splits words at ':', '=' and '@' (COMP_WORDBREAKS). Here they are joined again: a piece belongs to the word before
    # it if there is no white space between them.
    local program="${1/#\~\//$HOME/}" rest="${COMP_LINE:0:COMP_POINT}" bare piece i
    local -a words=() lines=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        bare="${rest#"${rest%%[![:space:]]*}"}"
        piece="${COMP_WORDS[i]}"
        [[ "$bare" == "$piece"* ]] || piece="$bare" # the cursor is inside it
        if ((i == 0)) || [[ "$bare" != "$rest" ]]; then
            words+=("$piece")
        else
            words[${#words[@]}-1]+="$piece"
        fi
        rest="${bare#"$piece"}"
    done
    local current="${words[${#words[@]}-1]}"
    mapfile -t lines < <("$program" __complete "${words[@]:1}" 2>/dev/null)
    COMPREPLY=()
    case "${lines[0]-}" in
    files) compopt -o default 2>/dev/null ;;
    directories) compopt -o default -o dirnames 2>/dev/null ;;
    parts) compopt -o nospace 2>/dev/null ;;&
    parts | words)
        # readline replaces the text after the last character at which it splits words, or after a quote.
        local behind="${current##*["$COMP_WORDBREAKS"]}"
        local ahead="${current%"$behind"}"
        ahead="${ahead%@}" # readline keeps an '@' together with what follows it
        [[ "$current" != [\"\']* ]] || ahead=
        COMPREPLY=("${lines[@]:1}")
        COMPREPLY=("${COMPREPLY[@]#"$ahead"}")
        ;;
    esac
}

complete -F _ocicat ocicat
"""

ZSH = r"""#compdef ocicat
# zsh completion for ocicat: source <(ocicat completion zsh) after compinit, or save it as _ocicat in a directory of $fpath

_ocicat() {
    local -a lines
    local program="${words[1]/#\~\//$HOME/}"
    lines=("${(@f)$("$program" __complete "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null)}")
    case "${lines[1]}" in
    files | directories)
        [[ "$PREFIX" == --*=* ]] && compset -P '*='
        if [[ "${lines[1]}" == files ]]; then _files; else _files -/; fi
        ;;
    parts) compadd -S '' -- "${(@)lines[2,-1]}" ;;
    words) compadd -- "${(@)lines[2,-1]}" ;;
    esac
}

if [[ "${funcstack[1]}" == _ocicat ]]; then
    _ocicat "$@"
else
    compdef _ocicat ocicat
fi
"""

FISH = r"""# fish completion for ocicat: ocicat completion fish | source, or save it as ~/.config/fish/completions/ocicat.fish

function __ocicat_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -e words[1]
    set -l lines ($program __complete $words "$current" 2>/dev/null)
    switch "$lines[1]"
        case files
            __fish_complete_path (string replace -r '^--[^=]*=' '' -- "$current")
        case directories
            __fish_complete_directories (string replace -r '^--[^=]*=' '' -- "$current") ''
        case parts words
            printf '%s\n' $lines[2..-1]
    end
end

complete -c ocicat -f -a '(__ocicat_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}
