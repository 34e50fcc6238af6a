"""``gpucv completion``: what makes a shell complete commands, options, studies and runs."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from cyclopts import Parameter

from gpucv.errors import StudyError

__all__ = ["completion"]

Shell = Literal["bash", "zsh", "fish"]

# Cyclopts' script splits file names at blanks, puts a blank behind a folder's name, and
# offers every file. So what comes first after a command is looked up anew.
_BASH = r"""
_gpucv_paths() {
  _gpucv
  local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"
  if [[ $COMP_CWORD -ge 2 && "$cur" != -* && "$prev" != -* ]]; then
    case "${COMP_WORDS[1]}" in
      run|validate|tune|features)
        mapfile -t COMPREPLY < <(compgen -d -- "$cur"; compgen -f -X '!*.toml' -- "$cur") ;;
      resume|report|compare|ls)
        mapfile -t COMPREPLY < <(compgen -d -- "$cur") ;;
    esac
  fi
  if [[ $COMP_CWORD -ge 2 && -e "${COMPREPLY[0]/#\~/$HOME}" ]]; then
    compopt -o filenames 2>/dev/null
  fi
}

complete -F _gpucv_paths gpucv
"""
# zsh calls the function that is named like its file; and it is told what each path is.
_ZSH = {
    "_cyclopts_gpucv": "_gpucv",
    "The study\\: a TOML file.:_files'": 'The study\\: a TOML file.:_files -g "*.toml"\'',
    "The run folder.:_files'": "The run folder.:_files -/'",
    "A folder of run folders, or one run folder.:_files'": (
        "A folder of run folders, or one run folder.:_files -/'"
    ),
}


def completion(
    shell: Annotated[
        Shell | None, Parameter(help="Which shell; by default the one this is called from.")
    ] = None,
) -> int:
    """Print a script that completes gpucv's commands, options, studies and run folders.

    For bash, keep it where the first example puts it; for zsh, in a folder of $fpath,
    before compinit runs. A new shell then completes.

    Examples
    --------
    gpucv completion bash > ~/.local/share/bash-completion/completions/gpucv
    gpucv completion zsh > ~/.zfunc/_gpucv
    gpucv completion fish > ~/.config/fish/completions/gpucv.fish
    """
    print(_script(shell or _detected()))
    return 0


def _detected() -> Shell:
    from cyclopts.completion.detect import ShellDetectionError, detect_shell

    try:
        found = detect_shell()
    except ShellDetectionError:
        found = None
    for shell in get_args(Shell):
        if shell == found:
            return shell  # type: ignore[no-any-return]
    msg = f"cannot tell which shell this is{f' ({found})' if found else ''}; name bash, zsh or fish"
    raise StudyError(msg)


def _script(shell: Shell) -> str:
    from gpucv.cli.main import build_app

    script: str = build_app().generate_completion(shell=shell)
    if shell == "bash":
        return script + _BASH
    if shell == "zsh":
        for every, fitting in _ZSH.items():
            script = script.replace(every, fitting)
    return script
