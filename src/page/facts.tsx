import type { ComponentChildren } from 'preact';

/** What is known of something, by name. */
export function Facts(props: { readonly facts: readonly (readonly [name: string, value: ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {props.facts.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** What may not be meant, a paragraph each. */
export function Warnings({ warnings }: { readonly warnings: readonly string[] }) {
  return (
    <>
      {warnings.map((warning) => (
        <p class="note" key={warning}>
          {warning}
        </p>
      ))}
    </>
  );
}
