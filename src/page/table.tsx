import type { ComponentChildren } from 'preact';

/** What stands over a column; with the classes of its cells where they have any. */
export type Heading = string | readonly [text: string, classes: string];

interface TableProps {
  /** What it is a table of: a label, or the id of the heading that says so. */
  readonly named: { readonly 'aria-label': string } | { readonly 'aria-labelledby': string };
  readonly classes?: string;
  readonly headings: readonly Heading[];
  /** Its rows. */
  readonly children: ComponentChildren;
}

/** A table that scrolls by itself where the screen is narrow, also by keyboard. */
export function Table({ named, classes, headings, children }: TableProps) {
  return (
    <div class="scroll" tabIndex={0} role="region" {...named}>
      <table class={classes}>
        <thead>
          <tr>
            {headings.map((heading) => {
              const [text, of] = typeof heading === 'string' ? [heading, undefined] : heading;
              return (
                <th scope="col" class={of} key={text}>
                  {text}
                </th>
              );
            })}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
