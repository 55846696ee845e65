import { WatchedFile } from '../../util/watched-file.ts';

/** Who we are to a registry, and whom to trust. One of the two ways to say who, or none. */
export interface RegistryAuth {
  readonly basic?: { readonly username: string; readonly password: string };
  readonly token?: string;
  /** PEM; instead of Node's own. */
  readonly ca?: string;
}

/** Paths of the files that some of it was read from. */
export interface RegistryAuthFiles {
  readonly password?: string;
  readonly token?: string;
  readonly ca?: string;
}

/** As it is at the moment: what was read from a file is read again when that changes. */
export function currentAuth(auth: RegistryAuth, files: RegistryAuthFiles): () => RegistryAuth {
  const { basic, token, ca } = auth;
  const follow = (path: string | undefined, value: string | undefined): (() => string | undefined) => {
    if (path === undefined || value === undefined) return () => value;
    const file = new WatchedFile(path, value);
    return () => file.current();
  };
  const [passwordNow, tokenNow, caNow] = [
    follow(files.password, basic?.password),
    follow(files.token, token),
    follow(files.ca, ca),
  ];
  return () => {
    const [password, bearer, trusted] = [passwordNow(), tokenNow(), caNow()];
    return {
      ...(basic && password !== undefined && { basic: { username: basic.username, password } }),
      ...(bearer !== undefined && { token: bearer }),
      ...(trusted !== undefined && { ca: trusted }),
    };
  };
}

/** The header that says who asks; undefined for nobody. */
export function authorizationOf({ basic, token }: RegistryAuth): string | undefined {
  if (token !== undefined) return `Bearer ${token}`;
  return basic && `Basic ${Buffer.from(`${basic.username}:${basic.password}`).toString('base64')}`;
}

/** A registry's words may quote what it was told, and are shown to whoever may look at a stream. */
export function withoutSecrets(text: string, { basic, token }: RegistryAuth): string {
  const secrets = [basic?.password, token, authorizationOf({ ...(basic && { basic }) })?.slice('Basic '.length)];
  return secrets.reduce<string>((shown, secret) => (secret ? shown.replaceAll(secret, '***') : shown), text);
}
