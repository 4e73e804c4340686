import type { AnyCommand } from '../command-line/command.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What a shell has to be told so that Tab completes commands and their options. Pure. */
export function completionOf(shell: Shell, commands: readonly AnyCommand[]): string {
  const shown = commands.filter(({ hidden }) => hidden !== true);
  return shell === 'fish' ? fish(shown) : shell === 'bash' ? bash(shown) : zsh(shown);
}

const GLOBAL = ['--config', '--json', '--help'];

/** After these words, what may follow. */
function follows(commands: readonly AnyCommand[]): Map<string, string[]> {
  const words = new Map<string, Set<string>>();
  const add = (after: string, word: string) => words.set(after, (words.get(after) ?? new Set()).add(word));
  for (const { name, options } of commands) {
    const [first = '', second] = name.split(' ');
    add('', first);
    if (second !== undefined) add(first, second);
    for (const option of [...Object.keys(options).map((each) => `--${each}`), ...GLOBAL]) add(name, option);
  }
  return new Map([...words].map(([after, set]) => [after, [...set].sort()]));
}

function bash(commands: readonly AnyCommand[]): string {
  const cases = [...follows(commands)].map(
    ([after, words]) => `    ${quoted(after)}) words=${quoted(words.join(' '))} ;;`,
  );
  return `# drakkar completion bash > /etc/bash_completion.d/drakkar
_drakkar_words() {
  case "$1" in
${cases.join('\n')}
    *) return 1 ;;
  esac
}
_drakkar() {
  local words='' named='' word current="\${COMP_WORDS[COMP_CWORD]}"
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case "$word" in -*) ;; *) named="\${named:+$named }$word" ;; esac
  done
  until _drakkar_words "$named"; do
    case "$named" in *' '*) named="\${named% *}" ;; *) break ;; esac
  done
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _drakkar drakkar
`;
}

function zsh(commands: readonly AnyCommand[]): string {
  return `#compdef drakkar
# drakkar completion zsh > "\${fpath[1]}/_drakkar"
autoload -U +X bashcompinit && bashcompinit
${bash(commands).split('\n').slice(1).join('\n')}`;
}

function fish(commands: readonly AnyCommand[]): string {
  const lines = commands.flatMap(({ name, summary, options }) => {
    const [first = '', second] = name.split(' ');
    const told = quoted(summary);
    const command =
      second === undefined
        ? `complete -c drakkar -n __fish_use_subcommand -a ${quoted(first)} -d ${told}`
        : `complete -c drakkar -n ${quoted(`__fish_seen_subcommand_from ${first}`)} -a ${quoted(second)} -d ${told}`;
    const seen = quoted(`__fish_seen_subcommand_from ${second ?? first}`);
    const flags = Object.entries(options).map(
      ([option, { summary: about, value }]) =>
        `complete -c drakkar -n ${seen} -l ${quoted(option)} -d ${quoted(about)}${value === undefined ? '' : ' -r'}`,
    );
    return [command, ...flags];
  });
  return `# drakkar completion fish > ~/.config/fish/completions/drakkar.fish\n${lines.join('\n')}\n`;
}

const quoted = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`;
