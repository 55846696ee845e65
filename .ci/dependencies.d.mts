export interface RuntimePackages {
  readonly everywhere: number;
  readonly binaries: number;
  /** How many packages each has. */
  readonly licenses: Readonly<Record<string, number>>;
  /** Packages, each with a licence that is not allowed. */
  readonly unlicensed: readonly string[];
  readonly installScripts: readonly string[];
}

export function runtimePackages(lock: { readonly packages: Readonly<Record<string, object>> }): RuntimePackages;
