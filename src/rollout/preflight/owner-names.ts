/** Names by which columns say whose a row is. A name is a hint: what is in the column decides. */

const people = 'user|owner|author|creator|account|tenant|customer|member|person|org|organi[sz]ation|workspace|usr';
const spelling = new RegExp(
  `^(app|auth)?(${people})(u?u?id|guid|key|ref|name|login|email|mail)?$|^(created|owned|submitted|posted|added)by((${people})?id|email)?$|^(user)?(e?mail(address)?|login|username)$`,
);

/** `user_id`, `ownerId`, `"Created By"`, `author_email`, `tenant`. */
export function looksLikeOwner(column: string): boolean {
  return spelling.test(plain(column));
}

export function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '');
}
