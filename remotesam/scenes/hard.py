from remotesam.scenes.scene import scene as hard_scene
