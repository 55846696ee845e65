/** A command of a shell script, as far as the docs need it: words, and what a here-document gives it. */
export interface ShellCommand {
  readonly words: readonly string[];
  readonly stdin: string;
}

/** What ends a command; what stands behind it is another one, or a file. */
const ENDS = ['&&', '||', '|', ';', '&'];

/**
 * The commands of a script, in order: quotes, continued lines, comments, here-documents and `$(…)` are understood, which stays
 * as it is; redirections are left out.
 */
export function commandsIn(script: string): readonly ShellCommand[] {
  const commands: ShellCommand[] = [];
  let words: string[] = [];
  let word: string | null = null;
  let delimiter: string | null = null;
  const endWord = (): void => {
    if (word !== null) words.push(word);
    word = null;
  };
  const endCommand = (stdin = ''): void => {
    endWord();
    const redirected = words.findIndex((each) => /^\d?>/.test(each));
    const kept = redirected < 0 ? words : words.slice(0, redirected);
    if (kept.length > 0) commands.push({ words: kept, stdin });
    words = [];
  };
  for (let at = 0; at < script.length; at++) {
    const rest = script.slice(at);
    const char = script[at]!;
    const end = ENDS.find((each) => rest.startsWith(each));
    if (char === '\n') {
      endWord();
      const last = words.at(-1);
      if (last?.startsWith('<<')) {
        delimiter = last.slice(2);
        words.pop();
      }
      if (delimiter === null) endCommand();
      else {
        const [text = ''] = script.slice(at + 1).split(new RegExp(`^${delimiter}$`, 'm'));
        endCommand(text);
        at += text.length + delimiter.length;
        delimiter = null;
      }
    } else if (char === '\\') {
      if (script[at + 1] !== '\n') word = (word ?? '') + (script[at + 1] ?? '');
      at++;
    } else if ((char === "'" || char === '"') && script.includes(char, at + 1)) {
      const close = script.indexOf(char, at + 1);
      word = (word ?? '') + script.slice(at + 1, close);
      at = close;
    } else if (rest.startsWith('$(') && rest.includes(')')) {
      const close = script.indexOf(')', at);
      word = (word ?? '') + script.slice(at, close + 1);
      at = close;
    } else if (char === '#' && word === null) {
      at += rest.search(/\n|$/) - 1;
    } else if (/\s/.test(char)) endWord();
    else if (end !== undefined) {
      endCommand();
      at += end.length - 1;
    } else word = (word ?? '') + char;
  }
  endCommand();
  return commands;
}
