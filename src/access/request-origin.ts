/** What is known of a request before anybody is signed in; for the logs and the list of sessions. */
export interface RequestOrigin {
  readonly requestId: string;
  /** As the client calls itself, at most 500 characters; empty when it does not say. */
  readonly userAgent: string;
  /** The client's address. */
  readonly address: string;
}
