"use strict";

const prefix = document.body.dataset.prefix;

async function send(method, path) {
  const answer = await fetch(`${prefix}/${path}`, { method });
  if (!answer.ok) {
    throw new Error(`${answer.status} ${await answer.text()}`);
  }
}

document.addEventListener("click", async (event) => {
  const { delete: group, labels, wipe } = event.target.dataset;
  if (group === undefined && wipe === undefined) {
    return;
  }
  event.preventDefault(); // do not open or close the group
  const question = group !== undefined ? `Delete the group ${labels}?` : `Delete all ${wipe} groups?`;
  if (!confirm(question)) {
    return;
  }
  try {
    await (group !== undefined ? send("DELETE", group) : send("PUT", "api/v1/admin/wipe"));
    location.reload();
  } catch (error) {
    alert(error.message);
  }
});
