// Dialogs: what htmx puts into #dialog opens it; Esc and the cross close it and focus goes back where it was.

function open(dialog) {
  if (!dialog.open) dialog.showModal();
  const first = dialog.querySelector("[aria-invalid=true], .dialog-body :is(input:not([type=hidden]), select)");
  first?.focus();
}

// a dangerous command: its button wakes only when the device's id has been typed
function checkConfirmation(field) {
  const button = field.form.querySelector("[data-needs-confirmation]");
  button.disabled = field.value.trim() !== field.dataset.confirm;
}

/** Wire the page's dialogs. */
export function start() {
  const dialog = document.getElementById("dialog");
  if (!dialog) return;
  document.addEventListener("htmx:after:swap", () => {
    if (dialog.firstElementChild && !dialog.open) open(dialog);
    else if (dialog.open) dialog.querySelector("[aria-invalid=true]")?.focus();
    dialog.querySelectorAll("[data-confirm]").forEach(checkConfirmation);
  });
  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    document.body.dispatchEvent(new CustomEvent("hub:dialog-closed"));
  });
  document.addEventListener("click", (event) => {
    if (event.target.closest("[data-close]") && dialog.open) {
      event.preventDefault();
      dialog.close();
    }
  });
  document.addEventListener("input", (event) => {
    if (event.target.matches("[data-confirm]")) checkConfirmation(event.target);
  });
  document.querySelectorAll("[data-confirm]").forEach(checkConfirmation);
}
