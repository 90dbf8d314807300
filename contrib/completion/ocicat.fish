# fish completion for ocicat: ocicat completion fish | source, or save it as ~/.config/fish/completions/ocicat.fish

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
