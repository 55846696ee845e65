/** What tests use of the package, which publishes no types. */
declare module 'oidc-provider' {
  import type { RequestListener } from 'node:http';

  export class Provider {
    constructor(issuer: string, configuration: object);
    callback(): RequestListener;
    on(event: 'grant.success', listener: (ctx: { readonly body: { readonly access_token: string } }) => void): this;
    on(event: 'grant.error', listener: () => void): this;
  }
}
