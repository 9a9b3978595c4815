// What this browser keeps for the page; nothing where it is told to keep nothing.

/** `storage` is a function because a blocked storage throws as soon as it is named. */
export function keeper(storage) {
  const attempt = (action) => {
    try {
      return action(storage());
    } catch {
      return null;
    }
  };
  return {
    get: (name) => attempt((kept) => kept.getItem(name)),
    set: (name, value) => attempt((kept) => kept.setItem(name, value)),
  };
}
