import type { ComponentChildren } from 'preact';
import { useId } from 'preact/hooks';

interface FieldProps {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly fault?: string | undefined;
  readonly children: (props: {
    readonly id: string;
    readonly 'aria-invalid': boolean;
    readonly 'aria-describedby': string | undefined;
  }) => ComponentChildren;
}

/** One field of a form, with what is wrong with it, or else what it takes. */
export function Field({ label, hint, fault, children }: FieldProps) {
  const id = useId();
  const told = fault === undefined ? hint : `${label} ${fault}`;
  return (
    <div class={`field ${fault === undefined ? '' : 'field-wrong'}`}>
      <label for={id}>{label}</label>
      {children({
        id,
        'aria-invalid': fault !== undefined,
        'aria-describedby': told === undefined ? undefined : `${id}-told`,
      })}
      {told !== undefined && (
        <p id={`${id}-told`} class={fault === undefined ? 'hint' : 'hint fault'}>
          {told}
        </p>
      )}
    </div>
  );
}

interface OptionsProps<Value extends string> {
  readonly legend: string;
  readonly name: string;
  readonly value: Value;
  readonly choose: (value: Value) => void;
  readonly options: readonly (readonly [value: Value, text: string])[];
}

export function Options<Value extends string>({ legend, name, value, choose, options }: OptionsProps<Value>) {
  return (
    <fieldset class="choices">
      <legend>{legend}</legend>
      {options.map(([each, text]) => (
        <label class="choice" key={each}>
          <input
            type="radio"
            name={name}
            checked={value === each}
            onChange={() => {
              choose(each);
            }}
          />
          <span>{text}</span>
        </label>
      ))}
    </fieldset>
  );
}
