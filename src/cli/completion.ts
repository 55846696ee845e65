import type { Argument, Command, Option } from 'commander';
import { wordsOf } from './examples.ts';

export const SHELLS = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof SHELLS)[number];

/** What may stand at a place: one of these words, the name of a stream, a file, or anything. */
type Value = readonly string[] | 'streams' | 'files' | 'anything';

/** A command as a shell has to know it. */
interface Verb {
  /** `streams list`; empty for the program itself. */
  readonly words: string;
  readonly verbs: readonly { readonly name: string; readonly summary: string }[];
  readonly options: readonly {
    readonly names: readonly string[];
    readonly summary: string;
    readonly value: Value | null;
  }[];
  /** What stands behind it. */
  readonly argument: Value;
}

/** By which the scripts ask for the names of streams: quickly, and silently where nobody answers. */
const NAMES = 'spoor completion streams 2>/dev/null';
/** Where an option's value, or an argument, is a file. */
const FILES = /<(?:file|folder|path\.\.\.)>|^(?:file|path)$/;

/** The script by which a shell completes the commands of a program, out of the program's own tree. */
export function completionScript(program: Command, shell: Shell): string {
  const verbs = verbsOf(program);
  switch (shell) {
    case 'bash':
      return bashScript(verbs);
    case 'zsh':
      return zshScript(verbs);
    case 'fish':
      return fishScript(verbs);
  }
}

function verbsOf(command: Command): Verb[] {
  const commands = command
    .createHelp()
    .visibleCommands(command)
    .filter((each) => each.name() !== 'help');
  const options = command.createHelp().visibleOptions(command);
  const own: Verb = {
    words: wordsOf(command),
    verbs: commands.map((each) => ({ name: each.name(), summary: each.description() })),
    options: options.map((option) => ({
      names: [option.short, option.long].flatMap((name) => name ?? []),
      summary: option.description,
      value: option.required || option.optional ? valueOf(option) : null,
    })),
    argument: argumentOf(command.registeredArguments[0]),
  };
  return [own, ...commands.flatMap(verbsOf)];
}

function valueOf({ argChoices, flags }: Option): Value {
  if (argChoices) return argChoices;
  return FILES.test(flags) ? 'files' : 'anything';
}

function argumentOf(argument: Argument | undefined): Value {
  if (argument === undefined) return 'anything';
  if (argument.argChoices) return argument.argChoices;
  if (argument.name() === 'stream') return 'streams';
  return FILES.test(argument.name()) ? 'files' : 'anything';
}

/** Patterns of `case` for a list of words. */
function pattern(words: readonly string[]): string {
  return words.map((word) => `'${word}'`).join('|');
}

/** Of a shell of Bourne's kind: finds out which command it is that the words before the cursor name. */
function findVerb(verbs: readonly Verb[], begin: string, condition: string, word: string): string {
  const known = verbs.filter(({ words }) => words !== '').map(({ words }) => words);
  return `  for ((i = ${begin}; ${condition}; i++)); do
    case "\${verb:+$verb }${word}" in
      ${pattern(known)}) verb="\${verb:+$verb }${word}" ;;
    esac
  done`;
}

function bashScript(verbs: readonly Verb[]): string {
  const valueCode = (value: Value): string => {
    if (value === 'anything') return 'return';
    if (value === 'files') return 'COMPREPLY=($(compgen -f -- "$cur")); return';
    return `COMPREPLY=($(compgen -W "${value === 'streams' ? `$(${NAMES})` : value.join(' ')}" -- "$cur")); return`;
  };
  const arms = verbs.map(({ words, verbs: subs, options, argument }) => {
    const valued = options.flatMap(({ names, value }) =>
      value === null ? [] : [`        ${pattern(names)}) ${valueCode(value)} ;;`],
    );
    const values = valued.length === 0 ? '' : `\n      case "$prev" in\n${valued.join('\n')}\n      esac`;
    const flags = options.flatMap(({ names }) => names).join(' ');
    const rest = subs.length > 0 ? valueCode(subs.map(({ name }) => name)) : valueCode(argument);
    return `    '${words}')${values}
      if [[ $cur == -* ]]; then COMPREPLY=($(compgen -W "${flags}" -- "$cur")); return; fi
      ${rest} ;;`;
  });
  return `# bash completion of spoor: source <(spoor completion bash)
_spoor() {
  local cur="\${COMP_WORDS[COMP_CWORD]}" prev="\${COMP_WORDS[COMP_CWORD-1]}" verb="" i
  COMPREPLY=()
${findVerb(verbs, '1', 'i < COMP_CWORD', '${COMP_WORDS[i]}')}
  case "$verb" in
${arms.join('\n')}
  esac
}
complete -o filenames -o bashdefault -F _spoor spoor
`;
}

/** Within single quotes of a shell of Bourne's kind. */
function quoted(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function zshScript(verbs: readonly Verb[]): string {
  const valueCode = (value: Value): string => {
    if (value === 'anything') return 'return';
    if (value === 'files') return '_files; return';
    return value === 'streams' ? `compadd -- \${(f)"$(${NAMES})"}; return` : `compadd -- ${value.join(' ')}; return`;
  };
  const described = (name: string, summary: string): string => quoted(`${name.replaceAll(':', '\\:')}:${summary}`);
  const arms = verbs.map(({ words, verbs: subs, options, argument }) => {
    const valued = options.flatMap(({ names, value }) =>
      value === null ? [] : [`        (${names.join('|')}) ${valueCode(value)} ;;`],
    );
    const values = valued.length === 0 ? '' : `\n      case "$words[CURRENT-1]" in\n${valued.join('\n')}\n      esac`;
    const flags = options.flatMap(({ names, summary }) => names.map((name) => described(name, summary)));
    const rest =
      subs.length > 0
        ? `list=(${subs.map(({ name, summary }) => described(name, summary)).join(' ')}); _describe command list`
        : valueCode(argument);
    return `    ('${words}')${values}
      if [[ $words[CURRENT] == -* ]]; then list=(${flags.join(' ')}); _describe option list; return; fi
      ${rest} ;;`;
  });
  return `#compdef spoor
# zsh completion of spoor: source <(spoor completion zsh), behind compinit; or as _spoor in a folder of $fpath
_spoor() {
  local verb="" i
  local -a list
${findVerb(verbs, '2', 'i < CURRENT', '${words[i]}')}
  case "$verb" in
${arms.join('\n')}
  esac
}
if [[ "$funcstack[1]" == _spoor ]]; then _spoor "$@"; else compdef _spoor spoor; fi
`;
}

function fishScript(verbs: readonly Verb[]): string {
  const known = verbs.filter(({ words }) => words !== '').map(({ words }) => quoted(words));
  const lines = verbs.flatMap(({ words, verbs: subs, options, argument }) => {
    const at = `complete -c spoor -n "__spoor_at '${words}'"`;
    const wanted = (value: Value): string => {
      if (value === 'files') return '-F';
      if (value === 'anything') return '-f';
      return value === 'streams' ? `-f -a '(${NAMES})'` : `-f -a ${quoted(value.join(' '))}`;
    };
    return [
      ...subs.map(({ name, summary }) => `${at} -f -a ${name} -d ${quoted(summary)}`),
      ...(subs.length > 0 ? [] : [`${at} ${wanted(argument)}`]),
      ...options.map(({ names, summary, value }) => {
        const flags = names.map((name) => (name.startsWith('--') ? `-l ${name.slice(2)}` : `-s ${name.slice(1)}`));
        return `${at} ${flags.join(' ')} ${value === null ? '' : `-r ${wanted(value)} `}-d ${quoted(summary)}`;
      }),
    ];
  });
  return `# fish completion of spoor: spoor completion fish | source
function __spoor_at
  set -l verb ''
  for word in (commandline -opc)[2..]
    set -l longer (string trim "$verb $word")
    if contains -- "$longer" ${known.join(' ')}
      set verb "$longer"
    end
  end
  test "$verb" = "$argv[1]"
end
complete -c spoor -f
${lines.join('\n')}
`;
}
