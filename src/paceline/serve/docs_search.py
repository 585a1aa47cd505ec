"""The box of the docs page that searches a collection by text; there when texts are embedded and vectors are on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

STYLE = """
#searcher .knobs{display:flex;flex-wrap:wrap;gap:.4rem 1.2rem;align-items:center;margin:.6rem 0}
#searcher input[name=text]{flex:1 1 16rem}#searcher ol{padding-left:1.6rem}#searcher li{margin:.3rem 0;overflow-wrap:anywhere}
#searcher li small,#searcher form>small{opacity:.75}#searcher meter{width:4rem;vertical-align:middle;margin-right:.5rem}
"""

_SCRIPT = """
{
  const form=document.querySelector('#searcher form'),list=form.querySelector('ol'),told=form.querySelector(':scope>small');
  const headers=()=>{
    const token=document.getElementById('token').value;
    return {'content-type':'application/json',...(token&&{authorization:'Bearer '+token})};
  };
  const names=async()=>{
    const reply=await fetch('v1/collections',{headers:headers()});
    if(!reply.ok)return;
    form.collection.replaceChildren(...(await reply.json()).collections.map(one=>new Option(one.name)));
  };
  names();
  document.getElementById('token').addEventListener('change',names);
  form.addEventListener('submit',async event=>{
    event.preventDefault();event.stopImmediatePropagation();
    if(!form.collection.value)await names();
    const body={collection:form.collection.value,text:form.text.value,mode:form.mode.value,topK:+form.topK.value};
    const started=performance.now();
    try{
      const reply=await fetch('v1/search',{method:'POST',headers:headers(),body:JSON.stringify(body)});
      const answer=await reply.json();
      if(!reply.ok)throw new Error(answer.detail);
      const best=answer.matches.length?Math.max(...answer.matches.map(match=>Math.abs(match.score)),1e-9):1;
      list.replaceChildren(...answer.matches.map(match=>{
        const item=document.createElement('li'),meter=document.createElement('meter'),more=document.createElement('small');
        meter.value=Math.max(0,match.score/best);meter.title=match.score.toFixed(4);
        const {text,...rest}=match.metadata||{};
        more.textContent=' '+[match.id,match.score.toFixed(3),...Object.entries(rest).map(([key,value])=>key+': '+value)].join(' · ');
        item.append(meter,text===undefined?'':String(text),more);
        return item;
      }));
      told.textContent=`${answer.matches.length} in ${(performance.now()-started).toFixed(1)} ms`
        +(answer.partial?`; without ${Object.keys(answer.missing).join(', ')}`:'');
    }catch(error){list.replaceChildren();told.textContent=String(error.message||error)}
  });
}
"""


def searcher(description: Mapping[str, Any]) -> str:
    """The box, or nothing when the description has no search or no model that embeds."""
    paths = description["paths"]
    if "/v1/search" not in paths or "/v1/embeddings" not in paths:
        return ""
    return f"""<section id="searcher"><h2>Search</h2>
<form><div class="knobs"><input name="text" aria-label="Text" required value="a large body of water"><button>Search</button></div>
<div class="knobs"><label>Collection <select name="collection"></select></label>
<label>By <select name="mode"><option value="vector">meaning</option><option value="words">words</option><option value="hybrid">both</option></select></label>
<label>Results <input name="topK" type="number" min="1" max="100" value="10"></label></div>
<ol aria-live="polite"></ol><small></small></form></section><script>{_SCRIPT}</script>"""
