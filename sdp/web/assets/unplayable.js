// Why a stream cannot be played in the way that was tried.

/** `container` says what it is, as containerOf() does: another way may play it. */
export class Unplayable extends Error {
  constructor(detail, container) {
    super(detail);
    this.container = container;
  }
}
