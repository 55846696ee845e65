/** The anchors of a page's headings, as the places that show Markdown make them. */
export function anchorsOf(text: string): readonly string[] {
  return [...withoutCode(text).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}\s_-]/gu, '')
      .replaceAll(/\s/g, '-'),
  );
}

/** A page without its blocks of code, in which a line may begin as a heading does. */
function withoutCode(text: string): string {
  return text.replaceAll(/^```.*?^```$/gms, '');
}

/** A block of code on a page. */
export interface CodeBlock {
  /** What stands behind the three backquotes: its language, and what is said of it. */
  readonly info: string;
  readonly text: string;
  /** Of its first line, from 1 on. */
  readonly line: number;
}

export function codeBlocks(page: string): readonly CodeBlock[] {
  return [...page.matchAll(/^```([^\n]*)\n(.*?)^```$/gms)].map(({ 1: info = '', 2: text = '', index }) => ({
    info: info.trim(),
    text,
    line: page.slice(0, index).split('\n').length + 1,
  }));
}

/**
 * A block that is run, by the name in the comment above it, which a reader of the page does not see.
 * @throws {Error} the page has none of that name
 */
export function runnableBlock(page: string, name: string): string {
  const text = new RegExp(`<!-- run: ${name} -->\\n+\`\`\`\\w*\\n([^]*?)\\n\`\`\``).exec(page)?.[1];
  if (text === undefined) throw new Error(`the page has no block ${name} to run`);
  return text;
}
