/**
 * Completion scripts, made from the grammar itself: nouns, verbs, options. Pure.
 */
import type { Command } from 'commander';

export type Shell = 'bash' | 'zsh' | 'fish';

/** What may follow a path of commands, as `pool create`; the empty path is the program. */
interface Choice {
  readonly path: string;
  readonly words: readonly string[];
}

export function completionScript(program: Command, shell: Shell): string {
  const choices = choicesOf(program, []);
  const globals = optionsOf(program);
  if (shell === 'fish') return fishScript(choices, globals);
  const bash = bashScript(choices, globals);
  return shell === 'bash' ? bash : `autoload -U +X bashcompinit && bashcompinit\n${bash}`;
}

function choicesOf(command: Command, path: readonly string[]): Choice[] {
  const words = [...command.commands.map((child) => child.name())];
  if (path.length > 0) words.push(...optionsOf(command));
  const below = command.commands.flatMap((child) => choicesOf(child, [...path, child.name()]));
  return [{ path: path.join(' '), words }, ...below];
}

function optionsOf(command: Command): string[] {
  return command.options.flatMap((option) => option.long ?? []);
}

function bashScript(choices: readonly Choice[], globals: readonly string[]): string {
  const cases = choices.map(({ path, words }) => `    '${path}') words='${words.join(' ')}' ;;`);
  return `_varve() {
  local current=\${COMP_WORDS[COMP_CWORD]} path='' words='' word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    case $word in
      -*) ;;
      *) case " ${knownPaths(choices)} " in *" \${path:+$path/}$word "*) path=\${path:+$path/}$word ;; esac ;;
    esac
  done
  case \${path//\\// } in
${cases.join('\n')}
  esac
  case $current in -*) words="$words ${globals.join(' ')}" ;; esac
  COMPREPLY=($(compgen -W "$words" -- "$current"))
  [ \${#COMPREPLY[@]} -gt 0 ] || COMPREPLY=($(compgen -f -- "$current"))
}
complete -F _varve varve
`;
}

/** `pool pool/create …`: a case pattern can then ask for a whole path. */
function knownPaths(choices: readonly Choice[]): string {
  return choices.map(({ path }) => path.replaceAll(' ', '/')).join(' ');
}

function fishScript(choices: readonly Choice[], globals: readonly string[]): string {
  const lines = choices.flatMap(({ path, words }) => words.map((word) => fishLine(path, word)));
  return `${[...lines, ...globals.map((option) => fishLine(null, option))].join('\n')}\n`;
}

function fishLine(path: string | null, word: string): string {
  const condition = path === null ? '' : ` -n '${fishCondition(path)}'`;
  if (word.startsWith('--')) return `complete -c varve${condition} -l ${word.slice(2)}`;
  return `complete -c varve -f${condition} -a ${word}`;
}

function fishCondition(path: string): string {
  if (path === '') return '__fish_use_subcommand';
  const seen = path.split(' ').map((word) => `__fish_seen_subcommand_from ${word}`);
  return seen.join('; and ');
}
